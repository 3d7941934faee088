from __future__ import annotations

import math
from dataclasses import replace

import pytest

from bench.policies.compare import Gap, Minutes, Ratio
from bench.policies.goals import Facts, Goal, goals

NAMES = ("ttft_mean", "ttft_p95", "ttft_p99", "e2e_mean", "loads_per_1000")


GREEDY = {"ttft_p95": ("greedy", Ratio(0.7, 0.8))}


def facts(regime: str, upper: float = 0.1, **others: object) -> Facts:
    usual = {"load": 0.3, "ratios": {name: Ratio(upper / 2, upper) for name in NAMES}}
    return Facts(regime, **(usual | others))


def limits(found: list[Goal]) -> dict[str, float]:
    return {goal.name: goal.limit for goal in found}


@pytest.mark.parametrize(
    ("given", "name", "limit"),
    [
        (facts("R0"), "ttft_mean", 1.02),
        (facts("R1"), "ttft_p95", 0.20),
        (facts("R1"), "e2e_mean", 0.55),
        (facts("R1", load=0.15), "e2e_mean", 0.65),
        (facts("R1", of_ideal=Ratio(1.0, 1.1)), "ttft_mean / all_warm", 1.25),
        (facts("R1", of_hash=Ratio(0.4, 0.5)), "ttft_mean / bounded_hash", 0.5),
        (facts("R1t", gap_closed=Gap(0.95, 0.9)), "gap_closed", 0.92),
        (facts("R2", worst_model=1.0), "worst model's p95", 1.0),
        (facts("R1", worst_model=1.0), "worst model's p95", 1.2),
        (facts("R1", of_simple=GREEDY), "ttft_p95 / greedy, the best simple rule", 0.75),
        (facts("R2", of_simple=GREEDY), "ttft_p95 / greedy, the best simple rule", 1.0),
        (facts("R0", of_simple=GREEDY), "ttft_p95 / greedy, the best simple rule", 1.02),
        (facts("RX", minutes=Minutes(1.0, 0, 9)), "worst minute", 1.05),
        (facts("RS"), "ttft_p99", 1.0),
        (facts("RS", failed_baseline=7), "failed", 7),
        (facts("R0", misfits=1), "misfits", 0),
        (facts("RS", sent_to_known=1), "sent to a known-dead instance", 0),
    ],
)
def test_each_regime_has_its_limits(given: Facts, name: str, limit: float) -> None:
    assert limits(goals(given))[name] == limit


def test_what_was_not_measured_has_no_goal() -> None:
    assert set(limits(goals(facts("R1")))) == {*NAMES, "failed", "misfits"}
    assert set(limits(goals(facts("RS")))) == {"ttft_p95", "ttft_p99", "failed", "misfits"}


def test_the_upper_limit_of_the_ratio_counts() -> None:
    ratios = {"ttft_mean": Ratio(0.19, 0.21)}
    (goal, *_) = goals(facts("R1", ratios=ratios))

    assert (goal.value, goal.met) == (0.21, False)
    assert goal.missed_by == pytest.approx(1.05)


def test_the_upper_limit_counts_to_other_policies_too() -> None:
    found = goals(facts("R1", ratios={}, of_ideal=Ratio(1.2, 1.3), of_hash=Ratio(0.4, 0.6)))

    assert [(goal.value, goal.met) for goal in found[2:]] == [(1.3, False), (0.6, False)]
    assert [(goal.value, goal.met) for goal in goals(facts("R1", ratios={}, of_simple=GREEDY))[2:]] == [(0.8, False)]


def test_where_nothing_need_be_loaded_twice_the_loads_themselves_count() -> None:
    ratios = {"loads_per_1000": Ratio(1.0, math.inf)}

    assert [goals(facts(regime, ratios=ratios))[0].met for regime in ("R0", "R1")] == [True, False]


def test_the_lower_limit_of_the_gap_counts() -> None:
    (goal,) = [one for one in goals(facts("R1", gap_closed=Gap(0.97, 0.94))) if one.name == "gap_closed"]

    assert (goal.value, goal.met) == (0.94, False)


@pytest.mark.parametrize(
    ("given", "unjudged"),
    [
        pytest.param(facts("R1", gap_closed=Gap(1.0, 1.0), of_ideal=Ratio(1.0, 1.0)), {*NAMES, "gap_closed"}, id="R1"),
        pytest.param(facts("R2", worst_model=0.1), {*NAMES, "worst model's p95"}, id="R2"),
        pytest.param(facts("RX", minutes=Minutes(0.1, 0, 9)), set(NAMES), id="RX"),
        pytest.param(facts("RS"), set(), id="RS: overload is the question"),
    ],
)
def test_ratios_to_a_swamped_baseline_are_not_judged(given: Facts, unjudged: set[str]) -> None:
    found = goals(replace(given, baseline_swamped=True))

    assert {goal.name for goal in found if goal.met is None} == unjudged
    assert all(goal.met is not None for goal in goals(given))


@pytest.mark.parametrize(
    ("goal", "met", "missed_by"),
    [
        (Goal("x", 1.0, 1.0), True, 0.0),
        (Goal("x", 3.0, 1.5), False, 2.0),
        (Goal("x", 0.9, 0.8, at_least=True), True, 0.0),
        (Goal("x", 0.4, 0.8, at_least=True), False, 2.0),
        (Goal("x", -0.4, 0.8, at_least=True), False, math.inf),
        (Goal("x", 3.0, 1.5, is_judged=False), None, 0.0),
    ],
)
def test_met_or_missed_by_how_much(goal: Goal, met: bool | None, missed_by: float) -> None:
    assert (goal.met, goal.missed_by) == (met, missed_by)
    assert goal.as_dict() == {"name": "x", "value": goal.value, "limit": goal.limit, "met": met}
