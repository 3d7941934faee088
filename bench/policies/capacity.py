"""How much load a policy carries: the highest at which nine in ten requests are in time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise

from bench.policies.verdicts import Row

ATTAINMENT = 0.9
LEAST_LOADS = 3
"""Fewer loads of one fleet and workload draw no curve."""


@dataclass(frozen=True, slots=True)
class Capacity:
    """One policy on one fleet and workload."""

    fleet: str
    workload: str
    arm: str
    load: float | None
    """Between two loads that were run, on a straight line; None: below the lowest."""
    is_least: bool
    """The highest load that was run is still carried: there may be more."""

    def as_dict(self) -> dict[str, object]:
        """Return the capacity as plain data."""
        return asdict(self)


def capacities(rows: Sequence[Row]) -> list[Capacity]:
    """Return the capacity of every policy on every fleet and workload that was run at three loads or more."""
    curves: dict[tuple[str, str, str], list[tuple[float, float]]] = {}
    for row in rows:
        if row.cell.load is None:
            continue
        key = (row.cell.fleet, row.cell.workload, row.arm)
        curves.setdefault(key, []).append((row.cell.load, row.figures.slo))
    return [_capacity(*key, sorted(curve)) for key, curve in curves.items() if len(curve) >= LEAST_LOADS]


def _capacity(fleet: str, workload: str, arm: str, curve: Sequence[tuple[float, float]]) -> Capacity:
    """Where the curve first falls below: what it does beyond is luck."""
    if curve[0][1] < ATTAINMENT:
        return Capacity(fleet, workload, arm, None, False)
    for (low, above), (high, below) in pairwise(curve):
        if below < ATTAINMENT:
            part = (above - ATTAINMENT) / (above - below)
            return Capacity(fleet, workload, arm, low + part * (high - low), False)
    return Capacity(fleet, workload, arm, curve[-1][0], True)
