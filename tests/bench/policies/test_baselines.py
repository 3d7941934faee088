from __future__ import annotations

from dataclasses import replace

import pytest

from bench.policies.baselines import Greedy, LeastConn, NginxLeastConn, Prequal, Random, WarmBounded, WarmFirst
from bench.policies.bounded_hash import BoundedHash
from spoe_agent.simulator.profile import GB
from spoe_agent.simulator.virtual.front import Front
from spoe_agent.simulator.virtual.policy import Assignment, Refusal, RoutingPolicy, Wait
from spoe_agent.simulator.virtual.requests import Request
from tests.simulator.virtual.builders import PROFILE, front_of, model, record, request


def front_with(served: list[int], limit: int | None = None, resident: dict[int, str] | None = None) -> Front:
    front = front_of([limit for _ in served])
    front.served = list(served)
    for server, names in (resident or {}).items():
        front.resident[server] = set(names)
    return front


@pytest.mark.parametrize(
    ("policy", "front", "expected"),
    [
        pytest.param(LeastConn(), front_with([2, 1, 3]), 1, id="leastconn: the fewest"),
        pytest.param(LeastConn(), front_with([4, 4, 5], limit=4), Wait.BACKEND, id="leastconn: all full, waits"),
        pytest.param(LeastConn(), front_with([4, 9, 3], limit=4), 2, id="leastconn: the only one with room"),
        pytest.param(NginxLeastConn(), front_with([4, 4], limit=4), Refusal(502), id="nginx: all full, fails"),
        pytest.param(NginxLeastConn(), front_with([4, 3], limit=4), 1, id="nginx: one has room"),
        pytest.param(WarmFirst(), front_with([0, 9, 8], resident={1: "a", 2: "a"}), 2, id="warm first, unbounded"),
        pytest.param(WarmFirst(), front_with([2, 0, 1], resident={0: "b"}), 1, id="warm nowhere: the fewest"),
        pytest.param(WarmBounded(), front_with([0, 4, 2], resident={1: "a", 2: "a"}), 2, id="warm below 1.5 x 2 + 2"),
        pytest.param(WarmBounded(), front_with([0, 9, 0], resident={1: "a"}), 0, id="warm, but over 1.5 x 3 + 2"),
        pytest.param(WarmBounded(), front_with([1, 6, 2], resident={1: "a"}), 1, id="warm, just below 1.5 x 3 + 2"),
        # 10 GB: a load counts 2 x (1 + 10 / 3) s, a request in flight 0.4 x 2 s while nothing was answered.
        pytest.param(Greedy(), front_with([0, 10], resident={1: "a"}), 1, id="greedy: ten in flight are cheaper"),
        pytest.param(Greedy(), front_with([0, 11], resident={1: "a"}), 0, id="greedy: eleven cost more than a load"),
        pytest.param(Prequal(), front_with([5, 1, 1, 1, 1]), 1, id="prequal: a cold one, no latency known"),
    ],
)
def test_each_rule(policy: RoutingPolicy, front: Front, expected: Assignment) -> None:
    assert policy.route(request(1), front, 0.0) == expected


@pytest.mark.parametrize(
    "policy", [LeastConn(), NginxLeastConn(), WarmFirst(), WarmBounded(), Greedy(), Prequal(), Random(1)]
)
def test_nobody_chooses_a_server_that_is_down(policy: RoutingPolicy) -> None:
    front = front_with([0, 5, 6], resident={0: "a"})
    front.mark(0, False)

    assert {policy.route(request(n), front, 0.0) for n in range(20)} <= {1, 2}


def mixed(served: list[int], limit: int | None = None) -> Front:
    """The first server cannot hold `large`."""
    front = Front([limit, limit], (PROFILE, replace(PROFILE, vram_bytes=48 * GB)))
    front.served = list(served)
    return front


def large(id: int = 1) -> Request:
    asked = request(id)
    return replace(asked, work=replace(asked.work, model=model("large", 30)))


@pytest.mark.parametrize(
    "policy",
    [LeastConn(), NginxLeastConn(), WarmFirst(), WarmBounded(), Greedy(), Prequal(), Random(1), BoundedHash(2, salt=0)],
)
def test_nobody_chooses_a_server_that_cannot_hold_the_model(policy: RoutingPolicy) -> None:
    assert {policy.route(large(), mixed([0, served]), 0.0) for served in range(20)} == {1}


def test_where_all_that_can_hold_the_model_are_full_the_others_do_not_count() -> None:
    front = mixed([0, 4], limit=4)

    assert LeastConn().route(large(), front, 0.0) is Wait.BACKEND
    assert NginxLeastConn().route(large(), front, 0.0) == Refusal(502)


@pytest.mark.parametrize("policy", [LeastConn(), WarmFirst(), WarmBounded(), Greedy()])
def test_equals_take_turns(policy: RoutingPolicy) -> None:
    front = front_with([0, 0, 0])

    assert [policy.route(request(n), front, 0.0) for n in range(6)] == [0, 1, 2, 0, 1, 2]


def test_leastconn_counts_the_queue_too() -> None:
    front = front_with([1, 1], limit=1)
    front.admit(record(1), 0)
    front.served = [0, 0]

    assert LeastConn().route(request(2), front, 0.0) == 1


def test_prequal_prefers_the_quickest_of_the_cold() -> None:
    policy, front = Prequal(), front_with([1, 1, 1, 1, 9])
    policy.route(request(8), front_with([1, 1, 1, 1, 1]), 0.0)
    for server, e2e_s in ((0, 3.0), (1, 1.0), (2, 2.0), (3, 5.0)):
        ended = record(server)
        ended.server, ended.status, ended.ended_at_s = server, 200, e2e_s
        policy.ended(ended, front, e2e_s)

    assert policy.route(request(9), front, 9.0) == 1


def test_greedy_counts_requests_by_what_answers_took_in_their_slots() -> None:
    policy = Greedy()
    ended = record(1)
    ended.server, ended.status, ended.ended_at_s, ended.load_wait_s = 0, 200, 30.0, 10.0
    policy.ended(ended, front_with([0, 0]), 30.0)

    assert policy.route(request(2), front_with([0, 1], resident={1: "a"}), 30.0) == 1
    assert policy.route(request(3), front_with([0, 2], resident={1: "a"}), 30.0) == 0


def test_prequal_takes_the_latency_of_answers_that_came_when_as_many_were_in_flight() -> None:
    policy = Prequal()
    for number, (server, before, e2e_s) in enumerate([(0, 0, 1.0), (0, 9, 8.0), (1, 0, 2.0), (1, 9, 3.0)] * 9):
        busy = front_with([before, before])
        busy.mark(1 - server, False)
        policy.route(request(number), busy, 0.0)
        ended = record(number)
        ended.server, ended.status, ended.ended_at_s = server, 200, e2e_s
        policy.ended(ended, busy, e2e_s)

    assert policy.route(request(98), front_with([0, 0]), 9.0) == 0
    assert policy.route(request(99), front_with([9, 9]), 9.0) == 1


def test_prequal_takes_the_fewest_when_all_are_hot() -> None:
    policy, busy = Prequal(), front_with([8, 9])
    for _ in range(60):
        policy.route(request(1), front_with([1, 1]), 0.0)
    ended = record(2)
    ended.server, ended.status, ended.ended_at_s = 0, 200, 99.0
    policy.ended(ended, busy, 99.0)

    assert policy.route(request(3), busy, 99.0) == 0


def test_random_reaches_every_server_and_repeats_with_its_seed() -> None:
    front = front_with([0, 0, 0])
    first, second = Random(5), Random(5)
    drawn = [first.route(request(n), front, 0.0) for n in range(50)]

    assert set(drawn) == {0, 1, 2}
    assert drawn == [second.route(request(n), front, 0.0) for n in range(50)]
