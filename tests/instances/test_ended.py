"""What lines of requests that ended tell of their instances"""

import pytest

from spoe_agent.routing import Health, Kind
from tests.instances.bench import BEGUN, EARLY, NONE, A, Bench


@pytest.mark.parametrize(
    ("more", "state"),
    [
        ({"status": 500}, "up, asked"),
        ({"status": 502, "termination": "SH"}, "suspect, asked"),
        ({"termination": "SD"}, "suspect, asked"),
        ({"termination": "SC", "status": 503}, "down"),
        ({"server": "g1", "is_redispatched": True}, "down"),
        ({"server": "g1"}, "up"),
        ({"status": 503, "termination": "sQ"}, "up"),
        ({"status": 400, "ending": EARLY}, "up"),
        ({"termination": "CD"}, "up"),
    ],
)
def test_two_endings(more, state):
    """`asked`: a probe is to tell, and until then the model's requests go elsewhere."""
    bench = Bench()
    for number in range(2):
        assert bench.ask(number).instance == "g0"
        bench.end(number, **{"server": "g0", "ending": NONE, **more})
    is_asked = bool(list(bench.watch.due()))
    assert f"{bench.state()}{', asked' if is_asked else ''}" == state
    if state != "down":
        assert bench.ask("next").instance == ("g1" if is_asked else "g0")


@pytest.mark.asyncio
async def test_clients_that_leave_before_the_first_byte_again_and_again_are_worth_a_probe():
    bench = Bench()
    bench.outcome = "gave no token within 10 s"
    for number in range(3):
        assert not list(bench.watch.due())
        bench.ask(number)
        bench.later(4)
        bench.end(number, ending=NONE, status=-1, termination="CH")
    await bench.probe_all()
    assert (bench.probed, bench.state()) == ([("g0", A, False)], Health.SUSPECT)
    assert "3 clients in a row left" in bench.watch.health["g0"].evidence


@pytest.mark.parametrize(
    ("waited_s", "ending"),
    [
        (2, {"ending": NONE, "status": -1, "termination": "CH"}),
        (4, {"ending": NONE, "status": -1, "termination": "CC"}),
        (4, {"ending": BEGUN, "termination": "CD"}),
    ],
    ids=["no sooner than usual", "it never had the request", "in the middle of an answer"],
)
def test_clients_that_leave_prove_nothing(waited_s, ending):
    bench = Bench()
    for number in range(9):
        bench.ask(number)
        bench.later(waited_s)
        bench.end(number, **ending)
    assert not list(bench.watch.due())


@pytest.mark.parametrize(
    ("server", "kind", "status", "listed"),
    [
        ("g0", Kind.MANAGE, 200, [["g0", "g1"]]),
        ("g1", Kind.MANAGE, 201, [["g0", "g1"]]),
        ("g0", Kind.MANAGE, 404, []),
        ("g0", Kind.INFERENCE, 404, [["g0", "g1"]]),
        ("g0", Kind.DESCRIBE, 404, [["g0", "g1"]]),
        ("g0", Kind.INFERENCE, 200, []),
        ("g0", Kind.LIST, 404, []),
        ("<NOSRV>", Kind.INFERENCE, 404, []),
        ("agent:2", Kind.MANAGE, 200, [["g0", "g1"]]),
        ("agent:2", Kind.MANAGE, 404, []),
    ],
)
def test_who_is_asked_for_lists_after_a_request(server, kind, status, listed):
    """The instances that share the store that was changed, or lacks what it was believed to have."""
    assert Bench().relisted(server, kind, status) == listed
