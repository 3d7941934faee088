"""The adapter: what the agent is told, and what becomes of its answers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest

from spoe_agent.routing.specs import Weights
from spoe_agent.simulator import Model
from spoe_agent.simulator.profile import GB
from spoe_agent.simulator.virtual.faults import PlannedFault, Trouble
from spoe_agent.simulator.virtual.fleet import FleetPlan
from spoe_agent.simulator.virtual.front import Front
from spoe_agent.simulator.virtual.pointsman import USUAL, PointsmanPolicy, Variant, fleet_spec, max_connections
from spoe_agent.simulator.virtual.policy import Assignment, Refusal, Wait
from spoe_agent.simulator.virtual.requests import Request, RequestOutcome
from spoe_agent.simulator.virtual.simulation import Simulation, SimulationOutcome
from spoe_agent.simulator.virtual.struck import StruckSimulation
from tests.simulator.virtual.builders import MODELS, PROFILE, fleet, front_of, model, request

BLIND = Variant(is_told_context=False)


def simulate(plan: FleetPlan, requests: list[object]) -> SimulationOutcome:
    limits = [max_connections(profile) for profile in plan.instances]
    return Simulation(plan.instances, limits, requests, PointsmanPolicy.of(plan, plan.models)).run()


def test_the_agent_gets_the_fleet_as_a_fleet_file_would_say_it() -> None:
    first, second = fleet_spec(fleet(2, max_loaded_models=2)).instances

    assert (first.name, second.name) == ("ollama-1", "ollama-2")
    assert (first.max_connections, first.num_parallel, first.max_loaded_models) == (8, 4, 2)
    assert (first.vram_bytes, first.context_length) == (24 * GB, 4096)


def test_without_a_context_in_the_fleet_file_the_agent_sees_what_models_are_loaded_with() -> None:
    """A memory of 80 GB is no reason to expect 131,072 tokens, which would leave no room beside anything."""
    plan = fleet(1, [model(name, 5, kv_bytes_per_token=100_000) for name in "abc"], vram_bytes=80 * GB)
    assert fleet_spec(plan, BLIND).instances[0].context_length is None

    requests = [replace(asked, work=replace(asked.work, model=found)) for asked, found in _in_turn(plan.models, 12)]
    assert len(watch(plan, requests, BLIND)[1].loads) == 3


def test_a_model_with_a_context_of_its_own_is_not_loaded_again() -> None:
    own = model("own", 5, num_ctx=16384)
    plan = fleet(1, [own, model("b", 5)], vram_bytes=80 * GB)
    requests = [replace(asked, work=replace(asked.work, model=found)) for asked, found in _in_turn(plan.models, 8)]
    for variant in (USUAL, BLIND):
        policy, outcome = watch(plan, requests, variant)
        assert (len(outcome.loads), policy.unloaded) == (2, [])


@pytest.mark.parametrize("gigabytes", [0, 3, 5], ids=["on the CPU", "27 % on the GPU", "45 % on the GPU"])
def test_copies_on_the_cpu_are_not_loaded_again_and_again(gigabytes: int) -> None:
    """Nowhere would they be faster: two instances alike, two models in turn."""
    models = (model("a"), model("b"))
    plan = fleet(2, models, vram_bytes=gigabytes * GB, max_loaded_models=1)
    requests = [replace(asked, work=replace(asked.work, model=found)) for asked, found in _in_turn(models, 14)]
    policy = PointsmanPolicy.of(plan, models)
    if gigabytes:  # or the file would rule out what does not fit the GPUs alone
        of = policy.agent.fleet
        policy.agent.adopt(replace(of, instances=tuple(replace(one, vram_bytes=None) for one in of.instances)))
    outcome = Simulation(plan.instances, [4, 4], requests, policy).run()

    assert len(outcome.loads) == 2
    assert all(record.served for record in outcome.records)


def _in_turn(models: tuple[Model, ...], count: int) -> list[tuple[Request, Model]]:
    """Requests one after the other, each for the next model."""
    return [(request(n, at_s=8.0 * n), models[n % len(models)]) for n in range(count)]


@pytest.mark.parametrize(
    ("variant", "expected"),
    [(Variant(says_parallel=1), (1, 2, 2)), (Variant(says_loaded=6), (4, 6, 24))],
)
def test_a_fleet_file_may_be_wrong(variant: Variant, expected: tuple[int, int, int]) -> None:
    spec = fleet_spec(fleet(1, max_loaded_models=2), variant).instances[0]

    assert (spec.num_parallel, spec.max_loaded_models, spec.max_connections) == expected


def test_slots_that_the_file_does_not_know_are_found() -> None:
    plan = fleet(1)
    policy = PointsmanPolicy.of(plan, plan.models, Variant(says_parallel=1))
    requests = [request(number, at_s=0.8 * number, output_tokens=301) for number in range(120)]
    Simulation(plan.instances, [max_connections(PROFILE)], requests, policy).run()

    assert [spec.num_parallel for spec in policy.agent.fleet.instances] == [4]


def test_models_that_the_instance_does_not_keep_are_not_counted_on() -> None:
    """Three models in turn, and room for two: the file says five."""
    small = tuple(model(name, 2) for name in "abc")
    plan = replace(fleet(1, max_loaded_models=2), models=small)
    policy = PointsmanPolicy.of(plan, small, Variant(says_loaded=5))
    asked = request(0)
    requests = [
        replace(asked, at_s=30.0 * number, work=replace(asked.work, id=number, model=small[number % 3]))
        for number in range(9)
    ]
    Simulation(plan.instances, [max_connections(PROFILE)], requests, policy).run()

    assert [spec.max_loaded_models for spec in policy.agent.fleet.instances] == [2]


def test_a_warm_instance_is_preferred() -> None:
    requests = [request(0), request(1, at_s=4.0), request(2, at_s=8.0, name="b"), request(3, at_s=12.0)]
    outcome = simulate(fleet(2), requests)

    assert [record.load_wait_s > 0 for record in outcome.records] == [True, False, True, False]
    assert len(outcome.loads) == 2


def test_grants_end_with_their_requests() -> None:
    """Were they not struck off, the second wave would look as if it came on top of the first."""
    plan = fleet(1)
    policy = PointsmanPolicy.of(plan, plan.models)
    requests = [request(number, at_s=0.5 * number) for number in range(30)]
    Simulation(plan.instances, [max_connections(PROFILE)], requests, policy).run()

    assert policy.agent.board.grants == 0


def test_a_model_goes_only_where_it_fits() -> None:
    big = model("big", 30)
    instances = (PROFILE, replace(PROFILE, vram_bytes=48 * GB))
    plan = FleetPlan("mixed", instances, (big,))
    asked = request(0)
    requests = [replace(asked, at_s=float(n), work=replace(asked.work, id=n, model=big)) for n in range(6)]

    assert {record.server for record in simulate(plan, requests).records} == {1}


def test_what_fits_nowhere_is_refused() -> None:
    big = model("big", 30)
    plan = FleetPlan("small", (PROFILE,), (big,))
    asked = request(0)
    outcome = simulate(plan, [replace(asked, work=replace(asked.work, model=big))])

    assert [(record.status >= 400, record.server) for record in outcome.records] == [(True, None)]


def test_a_refusal_has_the_agents_status() -> None:
    plan = fleet(1)
    outcome = Simulation(plan.instances, [4], [request(0, name="a")], PointsmanPolicy.of(plan, (MODELS["b"],))).run()

    assert outcome.records[0].status == Refusal(404).status


class Watched(PointsmanPolicy):
    """Notes what it is asked to do."""

    def __init__(self, plan: FleetPlan, variant: Variant) -> None:
        super().__init__(fleet_spec(plan, variant), plan.models, variant)
        self.unloaded: list[Model] = []
        self.held = 0

    def route(self, request: Request, front: Front, now_s: float) -> Assignment:
        verdict = super().route(request, front, now_s)
        self.held += verdict is Wait.POLICY
        return verdict

    def unloads(self, record: RequestOutcome) -> Iterable[Model]:
        models = list(super().unloads(record))
        self.unloaded += models
        return models


def watch(plan: FleetPlan, requests: list[Request], variant: Variant) -> tuple[Watched, SimulationOutcome]:
    policy = Watched(plan, variant)
    limits = [max_connections(profile) for profile in plan.instances]
    return policy, Simulation(plan.instances, limits, requests, policy).run()


@pytest.mark.parametrize(("variant", "is_asked"), [(USUAL, True), (Variant(steers=False), False)])
def test_models_that_must_go_are_unloaded_unless_steering_is_off(variant: Variant, is_asked: bool) -> None:
    requests = [request(n, at_s=10.0 * n, name=name) for n, name in enumerate("abcabc")]
    policy, outcome = watch(fleet(1), requests, variant)

    assert bool(policy.unloaded) == is_asked
    assert outcome.unloads, "the third model does not fit beside the other two"


@pytest.mark.parametrize(("variant", "is_held"), [(USUAL, True), (Variant(hold_s=0.0), False)])
def test_what_has_no_slot_is_held_unless_holding_is_off(variant: Variant, is_held: bool) -> None:
    requests = [request(number, at_s=0.01 * number) for number in range(20)]
    policy, outcome = watch(fleet(1, num_parallel=1), requests, variant)

    assert bool(policy.held) == is_held
    assert all(record.served for record in outcome.records)


def test_an_agent_with_a_slower_clock_is_told_shorter_times() -> None:
    usual, slow = fleet_spec(fleet(1)).policy, fleet_spec(fleet(1), Variant(time_scale=5.0)).policy

    assert (slow.hold_s, slow.max_age_s) == (usual.hold_s / 5, usual.max_age_s / 5)


def test_an_agent_with_a_slower_clock_ages_readings_on_it() -> None:
    """Were readings stamped by the fleet's clock, they would lie in the agent's future, or be too old at once."""
    requests = [request(number, at_s=20.0 * number) for number in range(10)]
    policy, outcome = watch(fleet(2), requests, Variant(time_scale=50.0))

    assert len(outcome.loads) == 1
    assert policy.agent.board.grants == 0


def test_who_is_refused_a_connection_goes_where_the_agent_says_and_never_back() -> None:
    """The health check has not noticed yet. A held grant, or one left over, would keep the others from their slots."""
    plan = fleet(3)
    policy = PointsmanPolicy.of(plan, plan.models)
    front = front_of([8, 8, 8])
    asked = [policy.route(request(0), front, 0.0)] + [policy.again(request(0), front, 0.0) for _ in range(2)]

    assert {0, 1, 2} == set(asked)
    assert policy.agent.board.grants == 1
    assert policy.again(request(0), front, 0.0) == Refusal(503)
    assert policy.agent.board.grants == 0


def test_a_salt_is_another_chance_and_none_is_the_plain_number() -> None:
    plan = fleet(4)

    def first(salt: int) -> Assignment:
        return PointsmanPolicy.of(plan, plan.models, Variant(salt=salt)).route(request(1), front_of([8] * 4), 0.0)

    assert len({first(salt) for salt in range(12)}) > 1
    assert first(3) == first(3)


def test_after_two_refused_connections_an_instance_is_asked_no_more() -> None:
    """Neither the health check nor a poll has noticed yet."""
    plan = fleet(2)
    policy, front = PointsmanPolicy.of(plan, plan.models), front_of([8, 8])
    refused = 0
    for number in range(8):
        if policy.route(request(number), front, float(number)) == 0:
            refused += 1
            assert policy.again(request(number), front, float(number)) == 1

    assert refused == 2


def test_who_is_refused_a_connection_may_be_held_for_another_instance() -> None:
    plan = fleet(2, num_parallel=1, max_loaded_models=1, models=[MODELS["a"]])
    fault = PlannedFault(Trouble.GONE, lasts_s=60.0, first_s=10.0, every_s=1e9)
    requests = [request(0, output_tokens=1000), request(1, output_tokens=1000), request(2, at_s=10.1)]
    # The second is not to wait for the first one's load.
    policy = Watched(plan, Variant(weights=Weights(load=0.0)))
    outcome = StruckSimulation(plan.instances, [1, 1], requests, policy, fault).run()
    broken, long, late = sorted(outcome.records, key=lambda record: record.ended_at_s)

    assert outcome.sent_to_struck == 1, "the check has not noticed yet"
    assert (broken.status, late.server, late.served) == (502, long.server, True)
    assert policy.held == 1 and late.first_at_s is not None and late.first_at_s > long.ended_at_s
    assert policy.agent.board.grants == 0


def test_nothing_is_learned_of_one_that_went_around() -> None:
    """Its times are not its last server's alone."""
    plan = fleet(2, models=[MODELS["a"]])
    fault = PlannedFault(Trouble.GONE, lasts_s=60.0, first_s=10.0, every_s=1e9)
    policy = PointsmanPolicy.of(plan, plan.models)
    outcome = StruckSimulation(plan.instances, [8, 8], [request(0, at_s=10.1)], policy, fault).run()

    assert (outcome.records[0].server, outcome.records[0].served, outcome.sent_to_struck) == (1, True, 1)
    assert not policy.agent.learner.service


def test_once_two_have_failed_nobody_goes_to_a_dead_instance_and_later_all_goes_on() -> None:
    plan = fleet(2, models=[MODELS["a"]])
    fault = PlannedFault(Trouble.GONE, lasts_s=60.0, first_s=20.0, every_s=1e9)
    requests = [request(number, at_s=0.5 * number, output_tokens=201) for number in range(400)]
    policy = PointsmanPolicy.of(plan, plan.models)
    outcome = StruckSimulation(plan.instances, [8, 8], requests, policy, fault).run()

    broken = [record for record in outcome.records if record.failed]
    assert len(broken) >= 2 and all(record.ended_at_s == 20.0 for record in broken)
    assert outcome.sent_to_known == 0
    late = {record.server for record in outcome.records if record.request.at_s > 120.0}
    assert late == {0, 1} and policy.agent.board.grants == 0


def test_a_hung_instance_is_found_by_its_silence() -> None:
    """It looks well: lists answer, connections are taken. Whoever counts connections alone goes on sending."""
    plan = fleet(2, models=[MODELS["a"]])
    fault = PlannedFault(Trouble.HANG, lasts_s=300.0, first_s=20.0, every_s=1e9)
    requests = [request(number, at_s=0.4 * number) for number in range(900)]
    outcome = StruckSimulation(plan.instances, [8, 8], requests, PointsmanPolicy.of(plan, plan.models), fault).run()

    hung = [record for record in outcome.records if record.failed]
    assert 0 < len(hung) < 20
    assert max(record.request.at_s for record in hung) < 60.0


def test_a_model_in_use_stays_loaded_while_nobody_uses_it_and_then_goes() -> None:
    plan = fleet(1, models=[MODELS["a"]])
    soon = simulate(plan, [request(0, at_s=0.0), request(1, at_s=550.0)])
    late = simulate(plan, [request(0, at_s=0.0), request(1, at_s=1500.0)])

    assert (len(soon.loads), len(late.loads)) == (1, 2)


def test_what_the_agent_sends_itself_is_nobody_elses() -> None:
    plan = fleet(1, models=[MODELS["a"]])
    policy = PointsmanPolicy.of(plan, plan.models)
    Simulation(plan.instances, [8], [request(number, at_s=7.0 * number) for number in range(100)], policy).run()
    quiet = PointsmanPolicy.of(plan, plan.models)
    Simulation(plan.instances, [8], [request(0, at_s=0.0), request(1, at_s=290.0)], quiet).run()

    assert not policy.agent.board.state("ollama-1").others
    assert not quiet.agent.board.state("ollama-1").others
