from __future__ import annotations

from collections import Counter

import pytest

from bench.policies.arrivals import Arrival
from bench.policies.fleets import EMBEDDER, FLEETS
from bench.policies.mixes import WORKLOADS, varies
from bench.policies.workloads import SURGE_AT_S, SURGE_S, TooShort, Workload, build
from spoe_agent.simulator.virtual.fleet import FleetPlan, fits
from spoe_agent.simulator.virtual.requests import Request
from spoe_agent.simulator.work import Task

F4 = FLEETS["F4"]

TRACE = [
    Arrival(float(second), rank, 500, 100)
    for second in range(400)
    for rank in (["M01"] * 4 + ["M02"] * 2 + (["M03"] if second % 2 else []))
]


def made(name: str, plan: FleetPlan = F4, load: float = 0.3, seed: int = 0) -> Workload:
    """The surge needs a longer trace."""
    return build(name, plan, load, seed, None if name == "RS" else TRACE)


def offered(requests: tuple[Request, ...], plan: FleetPlan) -> float:
    return sum(request.solo_s for request in requests) / requests[-1].at_s / plan.capacity()


@pytest.mark.parametrize("name", sorted(WORKLOADS.keys() - {"W4-0.6", "W4-1.8"}))
def test_every_workload_is_ordered_numbered_and_repeatable(name: str) -> None:
    workload = made(name)

    times = [request.at_s for request in workload.requests]
    assert times == sorted(times)
    assert [request.work.id for request in workload.requests] == list(range(len(times)))
    assert workload == made(name)


@pytest.mark.parametrize("name", ["W1", "W2", "W6", "WX"])
@pytest.mark.parametrize("load", [0.15, 0.45])
def test_the_load_is_the_one_that_was_asked_for(name: str, load: float) -> None:
    assert offered(made(name, load=load).requests, F4) == pytest.approx(load, rel=0.02)


def test_popular_models_are_small() -> None:
    requests = made("W1").requests

    popular = [model for model, _ in Counter(request.work.model for request in requests).most_common()]
    assert popular == list(F4.models[:3])


def test_a_seed_permutes_which_model_is_popular() -> None:
    hottest = {
        Counter(r.work.model.name for r in made("W2", seed=seed).requests).most_common(1)[0] for seed in range(9)
    }

    assert len(hottest) > 3


def test_one_hot_model_is_of_middle_size_and_more_than_one_instance_can_carry() -> None:
    workload = build("WX", FLEETS["F8"], 0.45, 0, None)

    counts = Counter(request.work.model.name for request in workload.requests)
    assert counts.most_common(1)[0][0] == FLEETS["F8"].models[3].name
    assert workload.regime == "RX"


def test_without_enough_models_the_rarest_ranks_are_left_out() -> None:
    two = FleetPlan("two", F4.instances, F4.models[:2])

    assert {request.work.model for request in made("W1", two).requests} == set(two.models)


def test_only_so_many_requests() -> None:
    assert len(build("W1", F4, 0.3, 0, TRACE, count=25).requests) == 25


def test_without_a_trace_traffic_is_made_up() -> None:
    assert len(build("W1", F4, 0.3, 0, None).requests) > 10_000


def test_a_trace_without_models_gets_some() -> None:
    bare = [Arrival(arrival.at_s, None, 100, 10) for arrival in TRACE]
    counts = Counter(request.work.model.name for request in build("W1", F4, 0.3, 0, bare).requests)

    assert len(counts) == 10
    assert counts[F4.models[0].name] > counts[F4.models[4].name]


def test_over_the_day_popular_models_are_small_whatever_this_window_says() -> None:
    counts = [Counter(r.work.model for r in build("W3", F4, 0.3, seed, None).requests) for seed in range(5)]
    hottest = [found.most_common(1)[0][0] for found in counts]

    assert sum((found[F4.models[0]] for found in counts), 0) > sum((found[F4.models[9]] for found in counts), 0)
    assert len(set(hottest)) > 1


def test_crowds_come_on_top_of_the_usual() -> None:
    usual, crowded = build("W1", F4, 0.3, 0, None), build("W5", F4, 0.3, 0, None)
    middle = F4.models[len(F4.models) // 2]
    more = Counter(r.work.model for r in crowded.requests) - Counter(r.work.model for r in usual.requests)

    assert set(more) == {middle} and more[middle] > 300


def test_crowds_have_the_lengths_of_a_trace_that_names_no_models() -> None:
    bare = [Arrival(60.0 * n, None, 700, 30) for n in range(120)]

    assert {(r.work.prompt_tokens, r.work.output_tokens) for r in build("W5", F4, 0.3, 0, bare).requests} == {(700, 30)}


def test_a_fleet_that_is_struck_is_under_stress() -> None:
    assert build("W1", FLEETS["F4-kill"], 0.3, 0, None).regime == "RS"


@pytest.mark.parametrize(
    ("name", "fleet", "trouble_s"), [("RS", "F4", 2400), ("W1", "F4-kill", 1320), ("RS", "F4-slow", 2400)]
)
def test_trouble_that_would_not_be_over_is_told(name: str, fleet: str, trouble_s: int) -> None:
    with pytest.raises(TooShort, match=f"{name} on {fleet} at load 0.3 ends .* after {trouble_s} s. Try more"):
        build(name, FLEETS[fleet], 0.3, 0, TRACE)


@pytest.mark.parametrize("name", sorted(WORKLOADS))
@pytest.mark.parametrize("is_named", [True, False])
def test_whether_seeds_vary_a_workload(name: str, is_named: bool) -> None:
    trace = [Arrival(14.0 * n, f"M{n % 3}" if is_named else None, 500, 1000) for n in range(2000)]
    first, second = (build(name, F4, 0.1, seed, trace).requests for seed in (0, 1))

    assert varies(name, trace) == (first != second)
    assert varies(name, None)


def test_conversations_keep_their_model_and_are_cut_to_a_quarter() -> None:
    trace = [Arrival(float(n), None, 4000 + n, 50, f"s{n % 7}", 400) for n in range(70)]
    requests = build("W6", F4, 0.3, 0, trace).requests

    of_session: dict[str | None, set[str]] = {}
    for request in requests:
        of_session.setdefault(request.work.session, set()).add(request.work.model.name)
    assert all(len(models) == 1 for models in of_session.values()) and len(of_session) == 7
    assert requests[0].work.prompt_tokens == 1000
    assert requests[0].fresh_prefill_s == pytest.approx(requests[0].prefill_s / 10)


def test_the_mixed_workload_has_embeddings_leavers_and_other_contexts() -> None:
    workload = made("W7")
    total = len(workload.requests)

    embeddings = [request for request in workload.requests if request.work.kind is Task.EMBED]
    assert len(embeddings) / total == pytest.approx(0.10, abs=0.02)
    assert all(request.work.model is EMBEDDER and request.decode_s == 0 for request in embeddings)
    assert sum(r.patience_s == 2.0 for r in workload.requests) / total == pytest.approx(0.05, abs=0.02)
    assert sum(r.work.num_ctx == 8192 for r in workload.requests) / total == pytest.approx(0.05, abs=0.02)


def test_the_surge_is_ten_minutes_of_overload() -> None:
    usual, surge = (build(name, F4, 0.1, 0, None) for name in ("W1", "RS"))

    def between(workload: Workload, from_s: float, to_s: float) -> list[int]:
        return [request.work.id for request in workload.requests if from_s <= request.at_s < to_s]

    end_s = SURGE_AT_S + SURGE_S
    assert surge.regime == "RS"
    assert between(surge, 0, SURGE_AT_S) == between(usual, 0, SURGE_AT_S)
    assert between(surge, SURGE_AT_S, end_s) == between(usual, SURGE_AT_S, SURGE_AT_S + 6.5 * SURGE_S)
    assert between(surge, end_s, end_s + 900) == between(usual, SURGE_AT_S + 6.5 * SURGE_S, SURGE_AT_S + 4800)


def test_what_exceeds_the_context_is_cut() -> None:
    long = [Arrival(0.0, "M01", 9000, 3000), Arrival(1.0, "M01", 9000, 100)]
    requests = build("W1", F4, 0.3, 0, long).requests

    assert [(r.work.prompt_tokens, r.work.output_tokens) for r in requests] == [(2048, 2048), (3996, 100)]


def test_times_alone_are_those_of_the_best_instance_that_holds_the_model() -> None:
    mixed = FLEETS["F4h"]
    largest = mixed.models[-1]
    requests = build("W1", FleetPlan("one", mixed.instances, (largest,)), 0.3, 0, TRACE).requests

    assert requests[0].decode_s == pytest.approx(99 * (largest.size_bytes / 800e9 + 0.0012))


def test_popular_models_may_be_large() -> None:
    requests = made("W8").requests

    popular = [model for model, _ in Counter(request.work.model for request in requests).most_common()]
    assert popular == list(F4.models[:-4:-1])


def test_completions_of_code_have_long_prompts_and_short_answers() -> None:
    code, chat = made("W9").requests, made("W1").requests

    assert [r.work.model for r in code] == [r.work.model for r in chat]
    assert sum(r.work.prompt_tokens for r in code) > 20 * sum(r.work.output_tokens for r in code)


def test_a_large_fleet_is_asked_for_all_its_models() -> None:
    plan = FLEETS["F16"]

    assert {r.work.model for r in build("W1", plan, 0.3, 0, None).requests} == set(plan.models)


def test_every_fifth_request_of_w10_goes_past_the_front_to_an_instance_that_holds_its_model():
    workload, plan = made("W10"), FLEETS["F4h"]
    past = [request for request in workload.requests if request.past is not None]
    assert len(past) == -(-len(workload.requests) // 5)
    assert len({request.past for request in past}) > 1
    assert not any(request.past is not None for request in made("W1").requests)
    mixed = build("W10", plan, 0.3, 0, None, 500)
    assert all(
        fits(request.work.model, plan.instances[request.past]) for request in mixed.requests if request.past is not None
    )
