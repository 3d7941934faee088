"""What goes wrong again and again is said once."""

import pytest
from structlog.testing import capture_logs

from spoe_agent.instances.reading import PollResult
from spoe_agent.routing import Health, LoadedModel
from tests.instances.bench import A, Bench

BAD, GOOD = ("GET /api/ps answered 500",), ("",)

LISTS = {
    # polls, one a second, over and over; at most so many lines and probes in ten minutes
    "always wrong": (BAD, 2, 20),
    "no JSON": (("GET /api/ps answered no JSON: x",), 2, 20),
    "changing reasons": (("GET /api/ps answered 500", "no answer in time"), 2, 20),
    "every other one": (BAD + GOOD, 0, 0),
    "two of three": (BAD * 2 + GOOD, 2, 20),
    "good for five in ten": (BAD * 5 + GOOD * 5, 4, 30),
    "good": (GOOD, 0, 0),
}


@pytest.mark.parametrize(("polls", "lines", "probes"), LISTS.values(), ids=LISTS)
async def test_lists_that_fail_for_ten_minutes_are_said_once(polls, lines, probes):
    """The instance answers requests all the time."""
    bench = Bench()
    with capture_logs() as logs:
        for second in range(600):
            why = polls[second % len(polls)]
            if why:
                bench.fail("g0", PollResult.SILENT, why)
            else:
                bench.poll("g0", {A: LoadedModel(1, 1)})
            bench.clock.now_s += 1
            await bench.probe_all()
    assert len([line for line in logs if line["log_level"] != "debug"]) <= lines
    assert len(bench.probed) <= probes
    assert bench.state() is Health.UP


async def test_lists_that_fail_and_probes_that_fail_then_are_proof():
    bench = Bench()
    for second in range(120):
        bench.outcome = "no token" if second > 60 else ""
        bench.fail("g0", PollResult.SILENT, "GET /api/ps answered 500")
        bench.clock.now_s += 1
        await bench.probe_all()
    assert bench.state() is Health.SUSPECT
    assert "500; probe: no token" in bench.watch.health["g0"].evidence


def test_lists_come_again_when_they_have_come_for_a_while():
    bench = Bench()
    with capture_logs() as logs:
        for silent in (True, True, False, True, *[False] * 70):
            if silent:
                bench.fail("g0", PollResult.SLOW, "no answer in time")
            else:
                bench.poll("g0", {A: LoadedModel(1, 1)})
            bench.clock.now_s += 1
    assert [line["event"] for line in logs] == ["instance's lists do not come", "instance's lists come again"]
