from __future__ import annotations

from dataclasses import replace

from bench.policies.all_warm import AllWarm, without_loading
from spoe_agent.simulator.profile import GB
from spoe_agent.simulator.virtual.fleet import FleetPlan
from spoe_agent.simulator.virtual.simulation import Simulation
from tests.simulator.virtual.builders import PROFILE, fleet, front_of, model, record, request


def test_nothing_ever_loads() -> None:
    plan = fleet(1)
    requests = [request(number, at_s=float(number), name="abcd"[number % 4]) for number in range(8)]
    outcome = Simulation([without_loading(PROFILE)], [None], requests, AllWarm(plan)).run()

    assert outcome.loads == []
    assert all(abs(one.ttft_s - 0.1) < 1e-9 for one in outcome.records)


def test_requests_spread_and_come_back_when_done() -> None:
    policy, front = AllWarm(fleet(2)), front_of([None, None])
    first, second = policy.route(request(1), front, 0.0), policy.route(request(2, name="b"), front, 0.0)
    assert {first, second} == {0, 1}

    ended = record(1)
    assert isinstance(first, int)
    ended.server = first
    policy.ended(ended, front, 0.1)

    assert policy.route(request(3, name="c"), front, 0.1) == first


def test_a_short_one_beside_a_nearly_finished_one() -> None:
    """Lengths are known: the instance whose request is nearly done costs less than the one that just began."""
    policy, front = AllWarm(fleet(2)), front_of([None, None])
    old = policy.route(request(1, output_tokens=101), front, 0.0)
    new = policy.route(request(2, name="b", output_tokens=101), front, 1.05)
    assert {old, new} == {0, 1}

    assert policy.route(request(3, name="c"), front, 1.08) == old


def test_who_comes_again_is_not_there_twice() -> None:
    """A connection failed: the first choice has nothing to do for it."""
    policy, front = AllWarm(fleet(2)), front_of([None, None])
    first = policy.route(request(1, output_tokens=500), front, 0.0)
    assert isinstance(first, int)
    with front.without(first):
        assert policy.route(request(1, output_tokens=500), front, 0.0) == 1 - first

    assert policy.route(request(2, name="b"), front, 0.0) == first


def test_a_model_only_goes_where_it_fits() -> None:
    big = model("big", 30)
    plan = FleetPlan("mixed", (PROFILE, replace(PROFILE, vram_bytes=48 * GB)), (big,))
    sent = replace(request(1), work=replace(request(1).work, model=big))

    assert [AllWarm(plan).route(sent, front_of([None, None]), 0.0) for _ in range(3)] == [1, 1, 1]
