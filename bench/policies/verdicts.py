"""From the runs of one cell to its rows, ratios and goals."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.policies.arms import BASELINE, IDEAL, OURS, SIMPLE
from bench.policies.bounds import Bounds
from bench.policies.cells import Cell
from bench.policies.compare import Gap, Minutes, Ratio, finite, gap_closed, loads_ratio, minutes, ratios
from bench.policies.fleets import FLEETS
from bench.policies.goals import Facts, Goal, goals
from bench.policies.summary import Figures, Run, figures
from spoe_agent.simulator.virtual.faults import Trouble

HASH = "bounded_hash"
Runs = Mapping[str, Sequence[Run]]
"""By policy; one per window, or one per window and placement."""

_HELD_AGAINST_SIMPLE = {"ttft_mean": None, "ttft_p95": 0.95}
"""Figures that ours is held against the best simple rule by, as percentiles (None: the mean)."""

SWAMPED_S = 60.0
"""Where one request in twenty waits longer for its first token, work has piled up: the slowest load, at 3 GB/s, takes
a quarter of it. (That most requests are late tells nothing: at load 0.30 least_conn's loads alone do that.)"""


@dataclass(frozen=True, slots=True)
class Row:
    """One policy in one cell."""

    cell: Cell
    regimes: tuple[str, ...]
    """Per window."""
    arm: str
    figures: Figures
    ratios: Mapping[str, Ratio]
    """To least_conn; empty without it."""
    baseline_swamped: bool
    """Multiples of least_conn's say little: it cannot carry the load."""
    gap_closed: Gap | None
    """From least_conn to all_warm."""
    of_others: Mapping[str, Ratio]
    """Mean time to the first token, to that of the other policies that goals name."""
    of_simple: Mapping[str, tuple[str, Ratio]]
    """Ours by figure to the simple rule that is best in it, with its name."""
    minutes: Minutes | None
    bounds: Bounds | None

    @property
    def regime(self) -> str:
        """That of most windows; of equally many the first."""
        return Counter(self.regimes).most_common(1)[0][0]

    def as_dict(self) -> dict[str, object]:
        """Return the row as plain data; times in seconds."""
        return {
            "regime": self.regime,
            "regimes": list(self.regimes),
            "fleet": self.cell.fleet,
            "load": self.cell.load,
            "workload": self.cell.workload,
            "arm": self.arm,
            "seeds": len(self.regimes),
            **self.figures.as_dict(),
            "baseline_swamped": self.baseline_swamped,
            "gap_closed": None if self.gap_closed is None else self.gap_closed.value,
            "gap_closed_lower": None if self.gap_closed is None else finite(self.gap_closed.lower),
            "ratio": {name: ratio.value for name, ratio in self.ratios.items()},
            "ratio_upper": {name: finite(ratio.upper) for name, ratio in self.ratios.items()},
            "ratio_deviation": {name: finite(ratio.deviation) for name, ratio in self.ratios.items()},
            "ratio_by_window": list(self.ratios["ttft_mean"].each) if self.ratios else [],
            "of_others": {name: ratio.value for name, ratio in self.of_others.items()},
            "of_others_upper": {name: finite(ratio.upper) for name, ratio in self.of_others.items()},
            "of_simple": {
                name: {"arm": arm, "ratio": ratio.value, "upper": finite(ratio.upper)}
                for name, (arm, ratio) in self.of_simple.items()
            },
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


def verdict(cell: Cell, regimes: tuple[str, ...], runs: Runs, bounds: Bounds | None) -> Verdict:
    """Judge one cell; `regimes` are its windows'."""
    found = rows(cell, regimes, runs, bounds)
    return Verdict(tuple(found), tuple(cell_goals(found)))


def rows(cell: Cell, regimes: tuple[str, ...], runs: Runs, bounds: Bounds | None) -> list[Row]:
    """Return a row per policy, in the order of the runs."""
    sums = {arm: figures(of_arm) for arm, of_arm in runs.items()}
    baseline, ideal = runs.get(BASELINE), runs.get(IDEAL)
    return [
        Row(
            cell=cell,
            regimes=regimes,
            arm=arm,
            figures=sums[arm],
            ratios=_ratios(arm, runs),
            baseline_swamped=BASELINE in sums and sums[BASELINE].ttft_p95 > SWAMPED_S,
            gap_closed=None if baseline is None or ideal is None else gap_closed(of_arm, baseline, ideal),
            of_others={
                other: ratios(of_arm, runs[other], "ttft", (None,))[0]
                for other in (IDEAL, HASH)
                if arm == OURS and other in runs
            },
            of_simple=_of_simple(runs, sums) if arm == OURS else {},
            minutes=None if baseline is None else minutes(of_arm, baseline),
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
        of_simple=ours.of_simple,
        worst_model=_worst_model(ours.figures, baseline.figures),
        failed=ours.figures.failed,
        failed_baseline=baseline.figures.failed,
        misfits=ours.figures.misfits,
        baseline_swamped=ours.baseline_swamped,
        sent_to_known=ours.figures.sent_to_known if _goes(ours.cell) else None,
    )
    return goals(facts)


def _ratios(arm: str, runs: Runs) -> dict[str, Ratio]:
    if BASELINE not in runs:
        return {}
    ours, theirs = runs[arm], runs[BASELINE]
    names = ("ttft_mean", "ttft_p95", "ttft_p99")
    found = dict(zip(names, ratios(ours, theirs, "ttft", (None, 0.95, 0.99)), strict=True))
    found["e2e_mean"] = ratios(ours, theirs, "e2e", (None,))[0]
    loads = loads_ratio(ours, theirs)
    if loads is not None:
        found["loads_per_1000"] = loads
    return found


def _of_simple(runs: Runs, sums: Mapping[str, Figures]) -> dict[str, tuple[str, Ratio]]:
    found = {}
    for name, part in _HELD_AGAINST_SIMPLE.items():
        best = min((arm for arm in SIMPLE if arm in runs), key=lambda arm: getattr(sums[arm], name), default=None)
        if best is not None:
            found[name] = best, ratios(runs[OURS], runs[best], "ttft", (part,))[0]
    return found


def _goes(cell: Cell) -> bool:
    fault = FLEETS[cell.fleet].fault
    return fault is not None and fault.trouble is Trouble.GONE


def _worst_model(ours: Figures, baseline: Figures) -> float:
    theirs = baseline.p95_by_model
    return max((p95 / theirs[model] for model, p95 in ours.p95_by_model.items() if model in theirs), default=0.0)
