from __future__ import annotations

import pytest

from bench.policies.cells import Cell
from bench.policies.compare import Gap
from bench.policies.summary import Run
from bench.policies.verdicts import Verdict, verdict
from tests.simulator.virtual.builders import run, sample

CELL = Cell("F4", 0.3, "W1")


def steady(ttft: float, loads: int = 10, **facts: object) -> list[Run]:
    at_s = tuple(200.0 * n for n in range(loads))
    return [run([sample(n * 10.0, ttft=ttft) for n in range(200)], loads=at_s, **facts)]


def judged(**ttft: float) -> Verdict:
    return verdict(CELL, ("R1",), {arm: steady(value) for arm, value in ttft.items()}, None)


def test_ratios_are_to_the_baseline_and_the_gap_is_to_the_ideal() -> None:
    rows = {row.arm: row for row in judged(leastconn=4.0, pointsman=1.0, all_warm=0.5).rows}

    assert rows["pointsman"].ratios["ttft_mean"].value == 0.25
    assert rows["pointsman"].ratios["e2e_mean"].value == pytest.approx(2 / 5)
    assert rows["pointsman"].ratios["loads_per_1000"].value == 1.0
    assert rows["pointsman"].gap_closed == Gap(pytest.approx(3 / 3.5), pytest.approx(3 / 3.5))
    assert (rows["leastconn"].gap_closed, rows["all_warm"].gap_closed) == (Gap(0.0, 0.0), Gap(1.0, 1.0))


def test_our_policy_is_held_against_its_goals() -> None:
    found = {goal.name: goal for goal in judged(leastconn=4.0, pointsman=1.0, all_warm=0.5, bounded_hash=2.0).goals}

    assert not found["ttft_mean"].met and found["ttft_mean"].value == 0.25
    assert found["ttft_mean / all_warm"].value == 2.0
    assert found["ttft_mean / bounded_hash"].met
    assert found["failed"].met


def test_ours_is_held_against_the_simple_rule_that_is_best_in_each_figure() -> None:
    even = [run([sample(n * 10.0, ttft=1.6) for n in range(200)])]
    peaks = [run([sample(n * 10.0, ttft=9.0 if n % 10 == 0 else 0.5) for n in range(200)])]
    others = {"leastconn": steady(4.0), "greedy": even, "warm_first": peaks, "random": steady(0.1)}
    ours = verdict(CELL, ("R1",), {**others, "pointsman": steady(1.0)}, None).rows[-1]

    assert {name: (arm, ratio.value) for name, (arm, ratio) in ours.of_simple.items()} == {
        "ttft_mean": ("warm_first", pytest.approx(1 / 1.35, rel=0.01)),
        "ttft_p95": ("greedy", 0.625),
    }
    assert ours.as_dict()["of_simple"]["ttft_p95"]["arm"] == "greedy"


@pytest.mark.parametrize("arms", [{"pointsman": 1.0}, {"leastconn": 1.0, "random": 2.0}])
def test_without_ours_or_the_baseline_there_are_no_goals(arms: dict[str, float]) -> None:
    assert judged(**arms).goals == ()


def test_a_row_is_plain_data() -> None:
    row = judged(leastconn=4.0, pointsman=1.0).rows[1].as_dict()

    assert (row["regime"], row["fleet"], row["load"], row["workload"], row["arm"]) == (
        "R1",
        "F4",
        0.3,
        "W1",
        "pointsman",
    )
    assert (row["ttft_mean"], row["seeds"], row["failed"]) == (1.0, 1, 0)
    assert row["ratio"] == {name: pytest.approx(value) for name, value in row["ratio_upper"].items()}
    assert row["gap_closed"] is row["gap_closed_lower"] is None
    assert row["worst_minute"] == 0.25


def test_a_verdict_says_where_it_belongs() -> None:
    assert judged(leastconn=1.0).place() == {"regime": "R1", "fleet": "F4", "load": 0.3, "workload": "W1"}


def test_several_windows_count_alike() -> None:
    """In the first our mean is a half, in the second a quarter of theirs; of loads a fifth and a tenth."""
    ours = [*steady(2.0, loads=2), *steady(1.0, loads=1, window=1)]
    theirs = [*steady(4.0), *steady(4.0, window=1)]
    ideal = [*steady(1.0), *steady(1.0, window=1)]
    row = verdict(CELL, ("R1", "R1"), {"leastconn": theirs, "pointsman": ours, "all_warm": ideal}, None).rows[1]

    assert (row.ratios["ttft_mean"].value, row.ratios["ttft_mean"].each) == (0.375, (0.5, 0.25))
    assert row.ratios["ttft_mean"].upper == 0.5
    assert row.ratios["loads_per_1000"].value == pytest.approx(0.15)
    assert 0.2 <= row.ratios["loads_per_1000"].upper < 1.0
    assert row.of_others["all_warm"].value == 1.5
    assert row.gap_closed == Gap(pytest.approx((2 / 3 + 1) / 2), pytest.approx(2 / 3))
    assert (len(row.regimes), row.as_dict()["ratio_by_window"]) == (2, [0.5, 0.25])


def test_without_loads_there_is_no_ratio_of_loads() -> None:
    runs = {"leastconn": steady(1.0, loads=0), "pointsman": steady(1.0, loads=0)}

    assert "loads_per_1000" not in verdict(CELL, ("R0",), runs, None).rows[1].ratios


@pytest.mark.parametrize(
    ("regimes", "regime"), [(("R1", "RX", "R1"), "R1"), (("RX", "R1"), "RX"), (("R1", "RX", "RX", "R1"), "R1")]
)
def test_the_regime_is_that_of_most_windows_and_of_equally_many_the_first(
    regimes: tuple[str, ...], regime: str
) -> None:
    row = verdict(CELL, regimes, {"leastconn": steady(1.0)}, None).rows[0]

    assert (row.regime, row.as_dict()["regimes"]) == (regime, list(regimes))


def test_placements_are_each_compared_and_count_as_one_policy() -> None:
    hashed = [*steady(1.0, placement=0), *steady(3.0, placement=1)]
    runs = {"leastconn": steady(4.0), "bounded_hash": hashed, "pointsman": steady(1.0)}
    _, row, ours = verdict(CELL, ("R1",), runs, None).rows

    assert (row.figures.requests, row.figures.ttft_mean, row.figures.ttft_p95) == (200, 2.0, 2.0)
    assert (row.ratios["ttft_mean"].value, row.ratios["ttft_mean"].each) == (0.5, (0.25, 0.75))
    assert ours.of_others["bounded_hash"].value == pytest.approx((1 + 1 / 3) / 2)
    assert row.as_dict()["seeds"] == 1


@pytest.mark.parametrize(("ttft", "swamped"), [(59.0, False), (61.0, True)])
def test_a_swamped_baseline_judges_nobody(ttft: float, swamped: bool) -> None:
    found = judged(leastconn=ttft, pointsman=1.0, all_warm=0.9)
    met = {goal.name: goal.as_dict()["met"] for goal in found.goals}

    assert [row.as_dict()["baseline_swamped"] for row in found.rows] == [swamped] * 3
    assert (met["ttft_mean"], met["gap_closed"]) == ((None, None) if swamped else (True, True))
    assert (met["ttft_mean / all_warm"], met["failed"], met["misfits"]) == (True, True, True)


@pytest.mark.parametrize(
    ("fleet", "is_stated"),
    [("F4-kill", True), ("F4-restart", True), ("F4-hang", False), ("F4-slow", False), ("F4", False)],
)
def test_only_an_instance_that_is_gone_can_be_known_to_be(fleet: str, is_stated: bool) -> None:
    runs = {"leastconn": steady(1.0), "pointsman": steady(1.0, sent_to_known=1)}
    found = {goal.name: goal.met for goal in verdict(Cell(fleet, 0.3, "W1"), ("RS",), runs, None).goals}

    assert found.get("sent to a known-dead instance") is (False if is_stated else None)


def test_limits_without_bound_are_no_numbers_in_plain_data() -> None:
    """Half of the resamples that lack the baseline's only minute with a load have one of ours."""
    samples = [sample(n * 10.0) for n in range(200)]
    runs = {"leastconn": [run(samples, loads=(5.0,))], "pointsman": [run(samples, loads=(900.0,))]}
    row = verdict(CELL, ("R1",), runs, None).rows[1].as_dict()

    assert (row["ratio"]["loads_per_1000"], row["ratio_upper"]["loads_per_1000"]) == (1.0, None)
