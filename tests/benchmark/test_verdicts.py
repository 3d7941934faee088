from __future__ import annotations

import pytest

from spoe_agent.benchmark.cells import Cell
from spoe_agent.benchmark.summary import Run
from spoe_agent.benchmark.verdicts import Verdict, verdict
from tests.benchmark.builders import run, sample

CELL = Cell("F4", 0.3, "W1")


def steady(ttft: float, loads: int = 10) -> list[Run]:
    return [run([sample(n * 10.0, ttft=ttft) for n in range(200)], loads=loads)]


def judged(**ttft: float) -> Verdict:
    return verdict(CELL, "R1", {arm: steady(value) for arm, value in ttft.items()}, None)


def test_ratios_are_to_the_baseline_and_the_gap_is_to_the_ideal() -> None:
    rows = {row.arm: row for row in judged(leastconn=4.0, pointsman=1.0, all_warm=0.5).rows}

    assert rows["pointsman"].ratios["ttft_mean"].value == 0.25
    assert rows["pointsman"].ratios["e2e_mean"].value == pytest.approx(2 / 5)
    assert rows["pointsman"].ratios["loads_per_1000"].value == 1.0
    assert rows["pointsman"].gap_closed == pytest.approx(3 / 3.5)
    assert (rows["leastconn"].gap_closed, rows["all_warm"].gap_closed) == (0.0, 1.0)


def test_our_policy_is_held_against_its_goals() -> None:
    found = {goal.name: goal for goal in judged(leastconn=4.0, pointsman=1.0, all_warm=0.5, bounded_hash=2.0).goals}

    assert not found["ttft_mean"].met and found["ttft_mean"].value == 0.25
    assert found["ttft_mean / all_warm"].value == 2.0
    assert found["ttft_mean / bounded_hash"].met
    assert found["failed"].met


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
    assert row["gap_closed"] is None
    assert row["worst_minute"] == 0.25


def test_a_verdict_says_where_it_belongs() -> None:
    assert judged(leastconn=1.0).place() == {"regime": "R1", "fleet": "F4", "load": 0.3, "workload": "W1"}


def test_several_windows_count_alike() -> None:
    """In the first our mean is a half, in the second a quarter of theirs; of loads a fifth and a tenth."""
    ours = [*steady(2.0, loads=2), *steady(1.0, loads=1)]
    theirs = [*steady(4.0), *steady(4.0)]
    ideal = [*steady(1.0), *steady(1.0)]
    row = verdict(CELL, "R1", {"leastconn": theirs, "pointsman": ours, "all_warm": ideal}, None).rows[1]

    assert (row.ratios["ttft_mean"].value, row.ratios["ttft_mean"].each) == (0.375, (0.5, 0.25))
    assert row.ratios["ttft_mean"].upper == 0.5
    assert row.ratios["loads_per_1000"].value == pytest.approx(0.15)
    assert row.ratios["loads_per_1000"].upper == pytest.approx(0.2)
    assert row.of_others["all_warm"].value == 1.5
    assert row.gap_closed == pytest.approx((2 / 3 + 1) / 2)
    assert (row.seeds, row.as_dict()["ratio_by_window"]) == (2, [0.5, 0.25])


def test_without_loads_there_is_no_ratio_of_loads() -> None:
    runs = {"leastconn": steady(1.0, loads=0), "pointsman": steady(1.0, loads=0)}

    assert "loads_per_1000" not in verdict(CELL, "R0", runs, None).rows[1].ratios
