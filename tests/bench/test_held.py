"""The rule by hand, parts of the rig, the whole bench with few requests. On each HAProxy: tests/e2e/test_hold.py."""

import asyncio
import io
import json
import socket
from collections import Counter

import pytest
from click.testing import CliRunner
from rich.console import Console

from bench.held import report, scenes
from bench.held.__main__ import main
from bench.held.clients import Answered
from bench.held.crowd import NORMAL, PATIENT, URGENT, Wait, waits
from bench.held.probe import FastPath, Times, times
from bench.held.relay import Relay
from bench.held.rule import Waiting, next_of, out_of_order


def crowd(*places: str) -> tuple[Waiting, ...]:
    """Return who waits: `a0` is caller a in class 0; the id is the place."""
    return tuple(Waiting(str(place), int(one[1:]), one[0]) for place, one in enumerate(places))


@pytest.mark.parametrize(
    ("waiting", "served", "place"),
    [
        (crowd("a0"), {}, "0"),
        (crowd("a0", "b0"), {}, "0"),
        (crowd("a0", "b0"), {"a": 1}, "1"),
        (crowd("b0", "a0"), {"a": 1, "b": 1}, "0"),
        (crowd("a0", "a0", "b0"), {"a": 1}, "2"),
        (crowd("a0", "b1"), {"a": 5}, "0"),
        (crowd("a1", "b-1"), {"b": 5}, "1"),
    ],
)
def test_who_is_next(waiting, served, place):
    assert next_of(waiting, Counter(served)).request_id == place


@pytest.mark.parametrize(
    ("order", "wrong"),
    [
        (["2", "0", "1", "3"], 0),
        (["2", "0", "3", "1"], 1),
        (["0", "2", "1", "3"], 1),
        (["2", "0", "x", "1", "3"], 0),
        (["2", "0"], 0),
        (["1", "3", "0", "2"], 3),
        ([], 0),
    ],
)
def test_each_that_was_not_next_counts_once(order, wrong):
    """Urgent 2 first; then 0, because a has had none; then 1, the older one; then 3."""
    assert out_of_order(crowd("a0", "a0", "b-1", "b0"), order) == wrong


def test_half_of_the_crowd_is_one_key_s_and_all_classes_are_there():
    asks = scenes.crowd_of(2000)
    keys, models = (Counter(part) for part in zip(*asks, strict=True))
    assert (keys["key 0"], len(keys)) == (1000, scenes.CALLERS)
    assert models == {URGENT: 200, NORMAL: 1400, PATIENT: 400}


def test_the_longest_wait_of_each_key_and_class():
    answers = [
        Answered(key, NORMAL, 200, "loaded", wait_s, 0.0) for key, wait_s in (("a", 1.0), ("b", 3.0), ("a", 2.0))
    ]
    assert waits(answers) == [Wait("b", NORMAL, 1, 3.0), Wait("a", NORMAL, 2, 2.0)]


def test_percentiles_are_milliseconds():
    assert times([0.001 * number for number in range(101)]) == Times(101, pytest.approx(50), pytest.approx(99))


async def test_the_relay_loses_its_share_and_passes_the_rest():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as agent, socket.socket(type=socket.SOCK_DGRAM) as haproxy:
        agent.bind(("127.0.0.1", 0))
        agent.setblocking(False)
        async with Relay(agent.getsockname()[1], lost_share=0.25, seed=3) as relay:
            for number in range(200):
                haproxy.sendto(str(number).encode(), ("127.0.0.1", relay.port))
            async with asyncio.timeout(10):
                got = [await asyncio.get_running_loop().sock_recv(agent, 100)]
                while relay.passed + relay.lost < 200 or len(got) < relay.passed:
                    got.append(await asyncio.get_running_loop().sock_recv(agent, 100))
    assert 20 < relay.lost < 80
    assert got == sorted(got, key=int)


PHASE = FastPath(Times(9, 1.0, 2.0), Times(9, 0.2, 0.5))
SLOWER = FastPath(Times(9, 1.0, 5.0), Times(9, 0.2, 0.5))
HELD = scenes.Held(
    2000, 1999, 2000, 1, 7, 1998, 2.5, 60.0, 72.0, 28.0, 57.0, 2002, PHASE, SLOWER, PHASE, PHASE, [Wait("k", "m", 1, 9)]
)
RESULTS = report.Results(
    "2.6.12",
    HELD,
    scenes.Share({"greedy": 20, "modest": 2}, {"greedy": 2, "modest": 2}, [], 0),
    scenes.Patience(6.0, 3000, 0, [Wait("patient", "patient", 1, 3.2)]),
    scenes.Instant(2000, 2000, 974, 2000, 86.6, 0.2, 0.1, 4920, {"1": 974}),
)


def test_people_see_what_was_measured():
    console = Console(width=120, record=True, file=io.StringIO())
    report.show(RESULTS, console)
    said = console.export_text()
    for text in (
        "1,999 of 2,000",
        "7 of 1,998",
        "60, 72 MB",
        "2.50",
        "974 x 1",
        "patient 3.20 s",
        "greedy 2, modest 2",
    ):
        assert text in said


def test_the_whole_bench_with_few_requests():
    result = CliRunner().invoke(main, ["--held", "22", "--probes", "3", "--json"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    said = json.loads(result.output)
    assert said["held"]["served"] == said["share"]["offered"]["greedy"] + said["share"]["offered"]["modest"] == 22
    assert said["patience"]["failed"] == 0
    assert said["instant"]["served"] == 22


def test_a_program_that_is_not_there_is_named():
    result = CliRunner().invoke(main, ["--haproxy", "/nonexistent/haproxy"])
    assert result.exit_code == 1
    assert "/nonexistent/haproxy" in result.output
