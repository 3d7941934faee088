"""From the runs of one cell to its rows, ratios and goals.

Must not live here: how anything is computed or shown; this only puts the parts together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from spoe_agent.benchmark.arms import BASELINE, IDEAL, OURS
from spoe_agent.benchmark.bounds import Bounds
from spoe_agent.benchmark.cells import Cell
from spoe_agent.benchmark.compare import Minutes, Ratio, minutes, over_windows, ratios
from spoe_agent.benchmark.goals import Facts, Goal, goals
from spoe_agent.benchmark.summary import Figures, Run, figures, mean, ttft_mean

HASH = "bounded_hash"
Runs = Mapping[str, Sequence[Run]]
"""By policy; one per seed, all in the same order."""


@dataclass(frozen=True, slots=True)
class Row:
    """One policy in one cell."""

    cell: Cell
    regime: str
    arm: str
    seeds: int
    figures: Figures
    ratios: Mapping[str, Ratio]
    """To least_conn; empty without it."""
    gap_closed: float | None
    """(least_conn - this) / (least_conn - all_warm), on the mean time to the first token; mean over the windows."""
    of_others: Mapping[str, Ratio]
    """Mean time to the first token, to that of the other policies that goals name."""
    minutes: Minutes | None
    bounds: Bounds | None

    def as_dict(self) -> dict[str, object]:
        """Return the row as plain data; times in seconds."""
        return {
            "regime": self.regime,
            "fleet": self.cell.fleet,
            "load": self.cell.load,
            "workload": self.cell.workload,
            "arm": self.arm,
            "seeds": self.seeds,
            **self.figures.as_dict(),
            "gap_closed": self.gap_closed,
            "ratio": {name: ratio.value for name, ratio in self.ratios.items()},
            "ratio_upper": {name: ratio.upper for name, ratio in self.ratios.items()},
            "ratio_by_window": list(self.ratios["ttft_mean"].each) if self.ratios else [],
            "of_others": {name: ratio.value for name, ratio in self.of_others.items()},
            "worst_minute": None if self.minutes is None else self.minutes.worst,
            "minutes_above": None if self.minutes is None else self.minutes.above,
            **({} if self.bounds is None else self.bounds.as_dict()),
        }


@dataclass(frozen=True, slots=True)
class Verdict:
    """One cell: every policy, and whether ours reaches its goals."""

    rows: tuple[Row, ...]
    goals: tuple[Goal, ...]

    def place(self) -> dict[str, object]:
        """Return which cell it is, as plain data."""
        cell = self.rows[0].cell
        return {"regime": self.rows[0].regime, "fleet": cell.fleet, "load": cell.load, "workload": cell.workload}


def verdict(cell: Cell, regime: str, runs: Runs, bounds: Bounds | None) -> Verdict:
    """Judge one cell."""
    found = rows(cell, regime, runs, bounds)
    return Verdict(tuple(found), tuple(cell_goals(found)))


def rows(cell: Cell, regime: str, runs: Runs, bounds: Bounds | None) -> list[Row]:
    """Return a row per policy, in the order of the runs."""
    sums = {arm: figures(of_arm) for arm, of_arm in runs.items()}
    return [
        Row(
            cell=cell,
            regime=regime,
            arm=arm,
            seeds=len(of_arm),
            figures=sums[arm],
            ratios=_ratios(arm, runs),
            gap_closed=_gap_closed(of_arm, runs.get(BASELINE), runs.get(IDEAL)),
            of_others={
                other: ratios(of_arm, runs[other], "ttft", (None,))[0]
                for other in (IDEAL, HASH)
                if arm == OURS and other in runs
            },
            minutes=minutes(of_arm, runs[BASELINE]) if BASELINE in runs else None,
            bounds=bounds,
        )
        for arm, of_arm in runs.items()
    ]


def cell_goals(cell_rows: Sequence[Row]) -> list[Goal]:
    """Return the goals of our policy in a cell; none without ours or the baseline."""
    by_arm = {row.arm: row for row in cell_rows}
    ours, baseline = by_arm.get(OURS), by_arm.get(BASELINE)
    if ours is None or baseline is None:
        return []
    facts = Facts(
        regime=ours.regime,
        load=ours.cell.load,
        ratios=ours.ratios,
        minutes=ours.minutes,
        of_ideal=ours.of_others.get(IDEAL),
        gap_closed=ours.gap_closed,
        of_hash=ours.of_others.get(HASH),
        worst_model=_worst_model(ours.figures, baseline.figures),
        failed=ours.figures.failed,
        failed_baseline=baseline.figures.failed,
        sent_to_known=ours.figures.sent_to_known,
    )
    return goals(facts)


def _ratios(arm: str, runs: Runs) -> dict[str, Ratio]:
    if BASELINE not in runs:
        return {}
    ours, theirs = runs[arm], runs[BASELINE]
    names = ("ttft_mean", "ttft_p95", "ttft_p99")
    found = dict(zip(names, ratios(ours, theirs, "ttft", (None, 0.95, 0.99)), strict=True))
    found["e2e_mean"] = ratios(ours, theirs, "e2e", (None,))[0]
    loads = [(mine.loads, other.loads) for mine, other in zip(ours, theirs, strict=True)]
    if all(other for _, other in loads):
        found["loads_per_1000"] = over_windows([mine / other for mine, other in loads])
    return found


def _gap_closed(ours: Sequence[Run], baseline: Sequence[Run] | None, ideal: Sequence[Run] | None) -> float | None:
    if baseline is None or ideal is None:
        return None
    means = [tuple(map(ttft_mean, window)) for window in zip(ours, baseline, ideal, strict=True)]
    if any(slow <= fast for _, slow, fast in means):
        return None
    return mean([(slow - mine) / (slow - fast) for mine, slow, fast in means])


def _worst_model(ours: Figures, baseline: Figures) -> float:
    theirs = baseline.p95_by_model
    return max((p95 / theirs[model] for model, p95 in ours.p95_by_model.items() if model in theirs), default=0.0)
