"""What the front does while an instance is struck, with toy policies on two instances of round numbers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.policies.arms import ARMS, Setting
from bench.policies.baselines import LeastConn
from spoe_agent.haproxy.contract import INSTANCE_CHECK
from spoe_agent.simulator.virtual.faults import PlannedFault, Trouble
from spoe_agent.simulator.virtual.front import Front
from spoe_agent.simulator.virtual.outcome import SimulationOutcome
from spoe_agent.simulator.virtual.policy import Assignment, Probe, RoutingPolicy, Wait
from spoe_agent.simulator.virtual.requests import BROKEN, CLIENT_LEFT, SERVED, TIMED_OUT, Request, RequestOutcome
from spoe_agent.simulator.virtual.struck import HealthCheck, StruckSimulation
from spoe_agent.simulator.work import RunningModel
from tests.simulator.virtual.builders import MODELS, fleet, request

INTER_S, FASTINTER_S, DOWNINTER_S = INSTANCE_CHECK.inter_s, INSTANCE_CHECK.fastinter_s, INSTANCE_CHECK.downinter_s

GONE = PlannedFault(Trouble.GONE, lasts_s=60.0, first_s=10.0, every_s=1e9)
HANG = PlannedFault(Trouble.HANG, lasts_s=60.0, first_s=10.0, every_s=1e9)


def simulate(
    requests: Sequence[Request], policy: RoutingPolicy, fault: PlannedFault, limits: Sequence[int | None] = (None, None)
) -> SimulationOutcome:
    return StruckSimulation(fleet(len(limits)).instances, limits, requests, policy, fault).run()


class First(LeastConn):
    """The first that may be chosen."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[float, list[int]]] = []

    def route(self, request: Request, front: Front, now_s: float) -> Assignment:
        self.seen.append((now_s, list(front.servers)))
        return front.servers[0]


def outcomes(outcome: SimulationOutcome) -> list[tuple[int, int | None, float]]:
    return [(one.status, one.server, round(one.ended_at_s, 6)) for one in outcome.records]


@pytest.mark.parametrize(
    ("answers", "pauses", "is_up"),
    [
        pytest.param("yyy", [INTER_S] * 3, True, id="up"),
        pytest.param("n", [FASTINTER_S], True, id="one failure: asked again soon"),
        pytest.param("nn", [FASTINTER_S, DOWNINTER_S], False, id="two: down"),
        pytest.param("nyn", [FASTINTER_S, INTER_S, FASTINTER_S], True, id="two, not in a row"),
        pytest.param("nnny", [FASTINTER_S, DOWNINTER_S, DOWNINTER_S, INTER_S], True, id="one answer: up"),
        pytest.param("nnyn", [FASTINTER_S, DOWNINTER_S, INTER_S, FASTINTER_S], True, id="up again, two more needed"),
    ],
)
def test_fall_two_rise_one(answers: str, pauses: list[float], is_up: bool) -> None:
    check = HealthCheck()

    assert [check.take(answer == "y") for answer in answers] == pauses
    assert check.is_up is is_up


def test_what_a_killed_process_had_begun_is_broken() -> None:
    begun, silent = request(0, at_s=7.0, output_tokens=500), request(1, at_s=9.0, name="b")
    outcome = simulate([begun, silent], First(), GONE)

    assert outcomes(outcome) == [(BROKEN, 0, 10.0)] * 2
    assert [one.first_at_s is None for one in outcome.records] == [False, True]
    assert outcome.sent_to_struck == 0


def test_where_nobody_listens_another_server_is_taken_at_once_until_the_check_knows() -> None:
    """Checks at 12 and 12.5 s fail; after 70 s the one at 70.5 s is answered."""
    policy = First()
    requests = [request(n, at_s=at_s) for n, at_s in enumerate((10.5, 11.0, 11.5, 12.6, 70.2, 71.0))]
    outcome = simulate(requests, policy, GONE)

    assert [(status, server) for status, server, _ in outcomes(outcome)] == [(SERVED, 1)] * 5 + [(SERVED, 0)]
    assert [len(servers) for _, servers in policy.seen] == [2, 1, 2, 1, 2, 1, 1, 1, 2]
    assert (outcome.sent_to_struck, outcome.sent_to_known) == (3, 1)


def test_who_waits_for_a_server_that_goes_down_goes_elsewhere() -> None:
    class Once(First):
        def again(self, request: Request, front: Front, now_s: float) -> Assignment:
            moved.append((request.work.id, now_s))
            return super().again(request, front, now_s)

    moved: list[tuple[int, float]] = []
    requests = [request(0, at_s=9.0), request(1, at_s=9.1), request(2, at_s=9.2)]
    outcome = simulate(requests, Once(), GONE, limits=[1, None])

    assert [(status, server) for status, server, _ in outcomes(outcome)] == [(BROKEN, 0), (SERVED, 1), (SERVED, 1)]
    assert moved == [(1, 10.0), (2, 10.0)]


def test_a_server_that_is_up_again_takes_from_the_backends_queue() -> None:
    class Full(LeastConn):
        def route(self, request: Request, front: Front, now_s: float) -> Assignment:
            return 1 if request.work.id == 0 else Wait.BACKEND

    long = request(0, at_s=9.0, output_tokens=10_000)
    outcome = simulate([long, request(1, at_s=20.0)], Full(), GONE, limits=[1, 1])

    assert outcomes(outcome)[1] == (SERVED, 0, 72.45)


def test_without_any_server_there_is_503() -> None:
    policy = First()
    outcome = simulate([request(0, at_s=11.0)], policy, GONE, limits=[None])

    assert outcomes(outcome) == [(503, None, 11.0)]


def test_whoever_insists_gets_503_after_three_retries() -> None:
    class Stubborn(RoutingPolicy):
        def route(self, request: Request, front: Front, now_s: float) -> Assignment:
            asked.append(now_s)
            return 0

    asked: list[float] = []
    outcome = simulate([request(0, at_s=11.0)], Stubborn(), GONE)

    assert outcomes(outcome) == [(503, None, 11.0)]
    assert asked == [11.0] * 4 and outcome.sent_to_struck == 4


def test_who_is_kept_hears_at_once_of_a_place_that_a_refused_one_left() -> None:
    class Keeping(First):
        def route(self, request: Request, front: Front, now_s: float) -> Assignment:
            return Wait.POLICY if request.work.id == 0 else 0

        def again(self, request: Request, front: Front, now_s: float) -> Assignment:
            free.append(0)
            return 1

        def grants(self, front: Front, now_s: float) -> Iterable[tuple[int, Assignment]]:
            granted_at_s.extend(now_s for _ in free)
            return [(free.pop(), 1)] if free else []

    free: list[int] = []
    granted_at_s: list[float] = []
    simulate([request(0, at_s=10.5), request(1, at_s=11.0)], Keeping(), GONE)

    assert granted_at_s == [11.0]


def test_a_hung_instance_looks_well_and_serves_nobody() -> None:
    policy = First()
    outcome = simulate([request(0, at_s=9.0), request(1, at_s=20.0), request(2, at_s=71.0)], policy, HANG)

    assert outcomes(outcome) == [(BROKEN, 0, 70.0), (BROKEN, 0, 70.0), (SERVED, 0, 73.2)]
    assert all(servers == [0, 1] for _, servers in policy.seen)
    assert outcome.sent_to_struck == 1


def test_a_hang_may_outlast_the_fronts_patience() -> None:
    outcome = simulate([request(0, at_s=20.0)], First(), PlannedFault(Trouble.HANG, lasts_s=700.0, first_s=10.0))

    assert outcomes(outcome) == [(TIMED_OUT, 0, 620.0)]


def test_slow_loads_are_slow_for_a_while() -> None:
    slow = PlannedFault(Trouble.SLOW, lasts_s=60.0, first_s=10.0)
    outcome = simulate([request(0, at_s=20.0), request(1, at_s=100.0, name="b")], First(), slow)

    assert [seconds for _, seconds in outcome.loads] == [10.0, 2.0]


def test_it_comes_again() -> None:
    often = PlannedFault(Trouble.GONE, lasts_s=3.0, first_s=10.0, every_s=100.0)
    outcome = simulate([request(n, at_s=at_s) for n, at_s in enumerate((9.9, 50.0, 109.9))], First(), often)

    assert [status for status, _, _ in outcomes(outcome)] == [BROKEN, SERVED, BROKEN]


class Probing(First):
    """Reads lists every second, and probes once at a given time."""

    poll_interval_s = 1.0

    def __init__(self, at_s: float) -> None:
        super().__init__()
        self._at_s = at_s
        self.answers: list[tuple[float, bool]] = []
        self.readings: list[tuple[float, list[str] | None]] = []

    def polled(self, server: int, loaded: list[RunningModel], now_s: float) -> None:
        if server == 0:
            self.readings.append((now_s, [line.model.name for line in loaded]))

    def unreachable(self, server: int, now_s: float) -> None:
        self.readings.append((now_s, None))

    def probes(self, now_s: float) -> Iterable[Probe]:
        if now_s < self._at_s:
            return []
        self._at_s = float("inf")
        return [Probe(0, MODELS["a"], None, 5.0)]

    def probed(self, server: int, is_answered: bool, now_s: float) -> None:
        self.answers.append((round(now_s, 6), is_answered))


@pytest.mark.parametrize(
    ("fault", "at_s", "answer"),
    [
        pytest.param(HANG, 5.0, (7.001, True), id="well: answered after its load"),
        pytest.param(HANG, 20.0, (25.0, False), id="hung: not in time"),
        pytest.param(HANG, 68.0, (70.0, False), id="hung: broken when the process is replaced"),
        pytest.param(GONE, 20.0, (20.0, False), id="gone: at once"),
        pytest.param(GONE, 75.0, (77.001, True), id="back"),
    ],
)
def test_probes_meet_what_requests_meet(fault: PlannedFault, at_s: float, answer: tuple[float, bool]) -> None:
    policy = Probing(at_s)
    simulate([request(0, at_s=100.0)], policy, fault)

    assert policy.answers == [answer]


def test_lists_are_read_while_it_hangs_and_not_while_it_is_gone() -> None:
    def readings(fault: PlannedFault) -> dict[float, list[str] | None]:
        policy = Probing(1e9)
        simulate([request(0, at_s=5.0), request(1, at_s=80.0)], policy, fault)
        return dict(policy.readings)

    hung, gone = readings(HANG), readings(GONE)

    assert (hung[9.5], hung[30.5], hung[70.5]) == (["a"], ["a"], [])
    assert (gone[9.5], gone[30.5], gone[70.5]) == (["a"], None, [])


@given(
    arm=st.sampled_from(sorted(ARMS)),
    trouble=st.sampled_from(Trouble),
    drawn=st.lists(
        st.tuples(st.floats(0, 3), st.sampled_from("abcd"), st.none() | st.floats(0.01, 5), st.integers(1, 80)),
        min_size=1,
        max_size=40,
    ),
)
def test_every_request_ends_exactly_once(
    arm: str, trouble: Trouble, drawn: list[tuple[float, str, float | None, int]]
) -> None:
    requests, now_s = [], 0.0
    for number, (gap_s, name, patience_s, output_tokens) in enumerate(drawn):
        now_s += gap_s
        requests.append(request(number, now_s, name, patience_s, output_tokens=output_tokens))
    plan, chosen = fleet(2), ARMS[arm]
    policy = chosen.policy(Setting(plan, tuple(MODELS.values()), 1, requests))
    instances = [chosen.hardware(profile) for profile in plan.instances]
    fault = PlannedFault(trouble, lasts_s=4.0, first_s=3.0, every_s=12.0)
    records: list[RequestOutcome] = (
        StruckSimulation(instances, chosen.limits(plan), requests, policy, fault).run().records
    )

    assert [record.request for record in records] == requests
    assert {record.status for record in records} <= {SERVED, CLIENT_LEFT, 502, 503, 504}
    assert all(record.ended_at_s >= record.request.at_s for record in records)
