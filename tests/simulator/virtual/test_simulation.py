"""The engine, with toy policies on one or two instances of round numbers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.policies.arms import ARMS, Setting
from spoe_agent.simulator import Model
from spoe_agent.simulator.virtual.front import Front
from spoe_agent.simulator.virtual.policy import Assignment, Refusal, RoutingPolicy, Wait
from spoe_agent.simulator.virtual.requests import CLIENT_LEFT, SERVED, Request, RequestOutcome
from spoe_agent.simulator.virtual.simulation import TIMEOUT_S, Simulation, SimulationOutcome
from spoe_agent.simulator.work import RunningModel, Task
from tests.simulator.virtual.builders import MODELS, fleet, request


class Script(RoutingPolicy):
    """Says what the test says, in order."""

    def __init__(self, *verdicts: Assignment) -> None:
        self._verdicts = iter(verdicts)
        self.seen: list[tuple[int, list[int]]] = []
        self.ends: list[tuple[int, float]] = []

    def route(self, request: Request, front: Front, now_s: float) -> Assignment:
        self.seen.append((request.work.id, list(front.served)))
        return next(self._verdicts)

    def ended(self, record: RequestOutcome, front: Front, now_s: float) -> None:
        self.ends.append((record.request.work.id, round(now_s, 6)))


def simulate(
    requests: Sequence[Request], policy: RoutingPolicy, limits: Sequence[int | None] = (None, None), **profile: object
) -> SimulationOutcome:
    return Simulation(fleet(len(limits), **profile).instances, limits, requests, policy).run()


def times(outcome: SimulationOutcome) -> list[tuple[int, float, float]]:
    return [(one.status, round(one.ttft_s, 6), round(one.e2e_s, 6)) for one in outcome.records]


def test_a_cold_request_loads_and_a_warm_one_does_not() -> None:
    outcome = simulate([request(0), request(1, at_s=5.0)], Script(0, 0))

    assert times(outcome) == [(SERVED, 2.1, 2.2), (SERVED, 0.1, 0.2)]
    assert [record.load_wait_s for record in outcome.records] == [2.0, 0.0]
    assert outcome.loads == [(2.0, 2.0)]


def test_an_embedding_has_its_answer_as_first_token() -> None:
    outcome = simulate([request(0, kind=Task.EMBED)], Script(0))

    assert times(outcome) == [(SERVED, 2.1, 2.1)]
    assert outcome.records[0].tpot_s is None


def test_the_front_counts_live_connections() -> None:
    policy = Script(0, 0, 1, 0)
    simulate([request(0), request(1, at_s=0.5), request(2, at_s=1.0), request(3, at_s=5.0)], policy)

    assert policy.seen == [(0, [0, 0]), (1, [1, 0]), (2, [2, 0]), (3, [0, 0])]


def test_beyond_maxconn_requests_wait_in_the_servers_queue() -> None:
    policy = Script(0, 0, 0)
    outcome = simulate([request(0), request(1, at_s=0.1), request(2, at_s=0.2)], policy, limits=[1])

    assert [end for _, _, end in times(outcome)] == [2.2, 2.3, 2.4]
    assert policy.ends == [(0, 2.2), (1, 2.4), (2, 2.6)]


def test_the_backends_queue_goes_to_the_first_server_with_room() -> None:
    outcome = simulate(
        [request(0), request(1, name="b", at_s=0.5), request(2, name="b", at_s=0.6)],
        Script(0, 1, Wait.BACKEND),
        limits=[1, 1],
    )

    assert [record.server for record in outcome.records] == [0, 1, 0]
    assert times(outcome)[2][0] == SERVED


def test_a_refusal_ends_a_request_at_once() -> None:
    policy = Script(Refusal(502))
    outcome = simulate([request(0, at_s=1.0)], policy)

    assert [(record.status, record.e2e_s, record.server) for record in outcome.records] == [(502, 0.0, None)]
    assert outcome.records[0].failed
    assert policy.ends == []


def test_ollamas_own_refusals_come_through_however_many() -> None:
    count = 2000
    requests = [request(0), *(request(n, at_s=0.1, name="b") for n in range(1, count))]
    outcome = simulate(requests, Script(*[0] * count), limits=[None], max_queue=1)

    assert sum(record.status == 503 for record in outcome.records) == count - 2


def test_refusals_in_a_row_do_not_nest() -> None:
    """Each frees a place, which the next takes, to be refused too."""
    count = 3000
    requests = [request(n, name="abc"[min(n, 2)]) for n in range(count)]
    outcome = simulate(requests, Script(*[0] * count), limits=[3], max_queue=1)

    assert len(outcome.records) == count
    assert all(record.status in (SERVED, 503) for record in outcome.records)


@pytest.mark.parametrize(
    ("verdicts", "limits", "end"),
    [
        pytest.param((0, 0), [None], 2.0, id="on the instance"),
        pytest.param((0, 0), [1], 2.0, id="in the server's queue"),
        pytest.param((0, Wait.BACKEND), [1], 2.0, id="in the backend's queue"),
        pytest.param((0, Wait.POLICY), [1], 2.0, id="held by the policy"),
    ],
)
def test_a_client_that_leaves_frees_its_place(verdicts: tuple[Assignment, ...], limits: list[int], end: float) -> None:
    policy = Script(*verdicts)
    outcome = simulate([request(0), request(1, at_s=0.0, patience_s=2.0, output_tokens=500)], policy, limits)

    left = outcome.records[1]
    assert (left.status, left.ended_at_s, left.failed) == (CLIENT_LEFT, end, False)
    assert (1, end) in policy.ends
    assert outcome.records[0].status == SERVED


def test_who_is_served_in_time_does_not_leave() -> None:
    outcome = simulate([request(0, patience_s=2.3)], Script(0))

    assert outcome.records[0].status == SERVED


def test_silence_ends_at_the_timeout() -> None:
    outcome = simulate([request(0), request(1, at_s=1.0)], Script(0, Wait.POLICY))

    late = outcome.records[1]
    assert (late.status, late.e2e_s) == (504, TIMEOUT_S)
    assert late.failed


def test_a_long_answer_is_no_silence() -> None:
    outcome = simulate([request(0, output_tokens=100_001)], Script(0))

    assert outcome.records[0].status == SERVED
    assert outcome.records[0].e2e_s > TIMEOUT_S


class Holding(RoutingPolicy):
    """Keeps everything and lets one go whenever one ended, or at a poll."""

    poll_interval_s = 1.0

    def __init__(self) -> None:
        self._held: list[int] = []
        self.polls: list[tuple[float, int, list[str]]] = []

    def route(self, request: Request, front: Front, now_s: float) -> Assignment:
        self._held.append(request.work.id)
        return Wait.POLICY

    def polled(self, server: int, loaded: list[RunningModel], now_s: float) -> None:
        self.polls.append((now_s, server, [line.model.name for line in loaded]))

    def grants(self, front: Front, now_s: float) -> Iterable[tuple[int, Assignment]]:
        return [(self._held.pop(0), 0)] if self._held and not front.served[0] else []


def test_held_requests_are_granted_at_events() -> None:
    outcome = simulate([request(0, at_s=0.1), request(1, at_s=0.2)], Holding(), limits=[1])

    assert [round(record.ended_at_s, 6) for record in outcome.records] == [3.2, 3.4]


def test_a_held_request_that_leaves_may_let_another_go() -> None:
    class Gate(Holding):
        """Lets the rest go when somebody leaves."""

        poll_interval_s = None

        def ended(self, record: RequestOutcome, front: Front, now_s: float) -> None:
            self._held = [number for number in self._held if number != record.request.work.id]
            self.is_open = True

        is_open = False

        def grants(self, front: Front, now_s: float) -> Iterable[tuple[int, Assignment]]:
            return [(self._held.pop(0), 0)] if self.is_open and self._held else []

    outcome = simulate([request(0, patience_s=3.0), request(1, at_s=0.1)], Gate(), limits=[1])

    assert [(record.status, round(record.ended_at_s, 6)) for record in outcome.records] == [
        (CLIENT_LEFT, 3.0),
        (SERVED, 5.2),
    ]


def test_who_leaves_just_after_it_was_decided_is_gone() -> None:
    class Late(Holding):
        """Decides at once, and says so later."""

        poll_interval_s = None

        def grants(self, front: Front, now_s: float) -> Iterable[tuple[int, Assignment]]:
            return [(self._held.pop(0), 0)] if self._held else []

    outcome = simulate([request(0, patience_s=1.0)], Late(), limits=[1])

    assert [(record.status, record.server) for record in outcome.records] == [(CLIENT_LEFT, None)]


def test_a_router_may_have_a_model_unloaded_before_a_request_gets_there() -> None:
    class Steering(Script):
        def unloads(self, record: RequestOutcome) -> Iterable[Model]:
            return [MODELS["b"]] if record.model == "c" else []

    requests = [request(n, at_s=4.0 * n, name=name) for n, name in enumerate(["a", "b", "c", "a", "b"])]
    outcome = simulate(requests, Steering(*[0] * 5), limits=[None])

    assert [record.load_wait_s > 0 for record in outcome.records] == [True, True, True, False, True]
    assert all(record.served for record in outcome.records)


def test_a_user_asks_again_when_the_answer_is_complete_and_after_thinking() -> None:
    first = request(0, at_s=1.0)
    again = replace(request(1), after=0, think_s=5.0)
    last = replace(request(2), after=1, think_s=0.0)
    outcome = simulate([first, again, last], Script(0, Refusal(502), 0))

    assert [(one.status, round(one.request.at_s, 6), round(one.ended_at_s, 6)) for one in outcome.records] == [
        (SERVED, 1.0, 3.2),
        (502, 8.2, 8.2),
        (SERVED, 8.2, 8.4),
    ]


def test_each_instance_is_polled_staggered() -> None:
    policy = Holding()
    simulate([request(0, at_s=0.1)], policy)

    assert [(now_s, server) for now_s, server, _ in policy.polls[:6]] == [
        (0.0, 0),
        (0.0, 1),
        (0.5, 0),
        (1.0, 1),
        (1.5, 0),
        (2.0, 1),
    ]
    assert [names for now_s, server, names in policy.polls if server == 0 and now_s == 2.5] == [["a"]]


def test_residency_is_known_while_a_model_loads_and_until_it_goes() -> None:
    class Watching(Script):
        def route(self, request: Request, front: Front, now_s: float) -> Assignment:
            residents.append(sorted(front.resident[0]))
            return super().route(request, front, now_s)

    residents: list[list[str]] = []
    requests = [
        request(0, at_s=0.0, name="a"),
        request(1, at_s=1.0, name="b"),
        request(2, at_s=6.0, name="c"),
        request(3, at_s=7.0, name="c"),
        request(4, at_s=9.0, name="a"),
    ]
    outcome = simulate(requests, Watching(*[0] * 5), limits=[None])

    assert residents == [[], ["a"], ["a", "b"], ["b", "c"], ["b", "c"]]
    assert (outcome.undone, outcome.unloads) == (1, 2)


@given(
    arm=st.sampled_from(sorted(ARMS)),
    drawn=st.lists(
        st.tuples(st.floats(0, 3), st.sampled_from("abcd"), st.none() | st.floats(0.01, 5), st.integers(1, 80)),
        min_size=1,
        max_size=40,
    ),
)
def test_every_request_ends_exactly_once(arm: str, drawn: list[tuple[float, str, float | None, int]]) -> None:
    requests, now_s = [], 0.0
    for number, (gap_s, name, patience_s, output_tokens) in enumerate(drawn):
        now_s += gap_s
        requests.append(request(number, now_s, name, patience_s, output_tokens=output_tokens))
    plan, chosen = fleet(2), ARMS[arm]
    policy = chosen.policy(Setting(plan, tuple(MODELS.values()), seed=1))
    instances = [chosen.hardware(profile) for profile in plan.instances]
    outcome = Simulation(instances, chosen.limits(plan), requests, policy).run()

    assert [record.request for record in outcome.records] == requests
    for record in outcome.records:
        assert record.status in (SERVED, CLIENT_LEFT, 502, 503, 504)
        if record.status == SERVED:
            assert record.ttft_s >= record.request.prefill_s - 1e-9
            assert record.e2e_s >= record.request.solo_s - 1e-9
            assert record.first_at_s is not None and record.first_at_s <= record.ended_at_s
        if record.status == CLIENT_LEFT:
            assert record.e2e_s == pytest.approx(record.request.patience_s)


def test_what_goes_past_the_front_takes_its_place_on_the_server_and_nobody_hears_of_it() -> None:
    policy = Script(0)
    asked = [replace(request(0), past=1), request(1, at_s=0.01), replace(request(2, at_s=0.02), past=1)]
    outcome = Simulation(fleet(2).instances, [1, 1], asked, policy).run()

    assert [record.server for record in outcome.records] == [1, 0, 1]
    assert policy.seen == [(1, [0, 0])]
    assert [number for number, _ in policy.ends] == [1]
    assert all(record.served for record in outcome.records)
