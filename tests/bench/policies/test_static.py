from __future__ import annotations

from bench.policies.static import Static
from spoe_agent.simulator.virtual.policy import Refusal
from spoe_agent.simulator.virtual.simulation import Simulation
from tests.simulator.virtual.builders import MODELS, fleet, front_of, request

A, B, C, D = MODELS.values()


def test_what_has_a_place_is_loaded_before_and_never_again() -> None:
    """Gaps of ten minutes: Ollama's keep_alive would have ended."""
    plan = fleet(2, keep_alive_s=300.0)
    requests = [request(number, at_s=600.0 * (number + 1), name="abcd"[number % 4]) for number in range(8)]
    outcome = Simulation(plan.instances, [None, None], requests, Static(plan, plan.models, requests)).run()

    assert len(outcome.loads) == 4 and outcome.loads[-1][0] < 600.0 and outcome.unloads == 0
    assert all(abs(one.ttft_s - 0.1) < 1e-9 for one in outcome.records)


def test_of_the_copies_the_one_where_the_answer_comes_soonest() -> None:
    plan = fleet(2, models=[A])
    policy = Static(plan, plan.models, [request(0)])

    assert {policy.route(request(number), front_of([None, None]), 0.0) for number in range(2)} == {0, 1}


def test_a_request_only_goes_where_its_model_is() -> None:
    plan = fleet(2)
    policy = Static(plan, plan.models, [request(number, name="abcd"[number]) for number in range(4)])
    (home,) = {policy.route(request(number, name="a"), front_of([None, None]), 0.0) for number in range(9)}

    assert isinstance(home, int)
    assert A in policy.preloads()[home] and A not in policy.preloads()[1 - home]


def test_what_has_no_place_is_refused() -> None:
    plan = fleet(1, models=[A, B, C])
    policy = Static(plan, plan.models, [request(0, name="a"), request(1, name="b")])
    (placed,) = policy.preloads()
    verdicts = {one: policy.route(request(5, name=one.name), front_of([None]), 0.0) for one in (A, B, C)}

    assert verdicts == {one: 0 if one in placed else Refusal(503) for one in (A, B, C)}
    assert list(verdicts.values()).count(Refusal(503)) == 1
