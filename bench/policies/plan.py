"""Which cells a run consists of."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import product

from bench.policies.arms import ARMS, BASELINE, IDEAL, OURS
from bench.policies.cells import Arrivals, Cell, FloorJob, Job
from bench.policies.users import CLOSED

LOADS = (0.15, 0.30)
DEFAULT_CELLS = (
    *(Cell(fleet, load, "W1") for fleet in ("F2-few", "F4", "F8", "F4-h100", "F2-vram", "F4h", "F2") for load in LOADS),
    Cell("F8", 0.30, "WX"),
    Cell("F4", 0.03, "W1"),
    *(Cell("F4-np1", load, "W1") for load in (0.12, 0.25)),
    Cell("F16", 0.15, "W1"),
    *(Cell("F4", 0.30, workload) for workload in ("W3", "W5", "W6", "W8", "W9", "RS")),
    *(Cell(fleet, 0.30, "W1") for fleet in ("F4-hang", "F4-kill", "F4-restart", "F4-slow")),
)
QUICK_CELLS = (Cell("F2-few", 0.30, "W1"), Cell("F4", 0.30, "W1"), Cell("F8", 0.30, "WX"))
QUICK_ARMS = (BASELINE, "bounded_hash", "warm_1.5mean", "greedy", OURS, IDEAL)
QUICK_REQUESTS = 4000


def cells(fleets: Sequence[str], loads: Sequence[float], workloads: Sequence[str], quick: bool) -> list[Cell]:
    """Return every combination of what was chosen; the usual cells when nothing was."""
    if not (fleets or loads or workloads):
        return list(QUICK_CELLS if quick else DEFAULT_CELLS)
    wanted = product(fleets or ("F4",), workloads or ("W1",), loads or LOADS)
    # A closed loop has no load, so it is run once.
    cells = (Cell(fleet, None if workload == CLOSED else load, workload) for fleet, workload, load in wanted)
    return list(dict.fromkeys(cells))


def jobs(cells: Iterable[Cell], arms: Sequence[str], seeds: int, source: Arrivals) -> list[Job | FloorJob]:
    """Return all work; that of one cell and seed together, because it shares its requests."""
    found: list[Job | FloorJob] = []
    for cell in cells:
        found += [
            Job(cell, arm, seed, source, placement)
            for seed in range(seeds)
            for arm in arms
            for placement in range(ARMS[arm].placements)
        ]
        if cell.workload != CLOSED:
            # What is asked when depends on the answers, so no floor holds for everybody.
            found.append(FloorJob(cell, seeds, source))
    return found
