from __future__ import annotations

import pytest

from bench.policies.cells import Arrivals, Cell, FloorJob, Job
from bench.policies.fleets import FLEETS
from bench.policies.mixes import WORKLOADS
from bench.policies.plan import DEFAULT_CELLS, QUICK_CELLS, cells, jobs


@pytest.mark.parametrize(
    ("fleets", "loads", "workloads", "expected"),
    [
        ((), (), (), list(DEFAULT_CELLS)),
        (("F2",), (), (), [Cell("F2", 0.15, "W1"), Cell("F2", 0.30, "W1")]),
        ((), (0.2,), (), [Cell("F4", 0.2, "W1")]),
        (("F2",), (), ("CL", "W1"), [Cell("F2", None, "CL"), Cell("F2", 0.15, "W1"), Cell("F2", 0.30, "W1")]),
        (("F2", "F8"), (0.4,), ("W7",), [Cell("F2", 0.4, "W7"), Cell("F8", 0.4, "W7")]),
    ],
)
def test_every_combination_of_what_was_chosen(
    fleets: tuple[str, ...], loads: tuple[float, ...], workloads: tuple[str, ...], expected: list[Cell]
) -> None:
    assert cells(fleets, loads, workloads, quick=False) == expected


def test_quick_is_less_of_the_same() -> None:
    assert cells((), (), (), quick=True) == list(QUICK_CELLS)


def test_the_usual_cells_exist() -> None:
    for cell in (*DEFAULT_CELLS, *QUICK_CELLS):
        assert cell.fleet in FLEETS and cell.workload in WORKLOADS


def test_no_floor_holds_for_a_closed_loop() -> None:
    cell, source = Cell("F4", None, "CL"), Arrivals()

    assert jobs([cell], ("leastconn",), 1, source) == [Job(cell, "leastconn", 0, source)]


def test_work_on_the_same_requests_is_together() -> None:
    cell, source = Cell("F2", 0.3, "W1"), Arrivals()

    assert jobs([cell], ("leastconn", "random"), 2, source) == [
        Job(cell, "leastconn", 0, source),
        Job(cell, "random", 0, source),
        Job(cell, "leastconn", 1, source),
        Job(cell, "random", 1, source),
        FloorJob(cell, 2, source),
    ]


def test_a_policy_with_placements_is_run_in_each() -> None:
    cell, source = Cell("F2", 0.3, "W1"), Arrivals()
    found = [job for job in jobs([cell], ("bounded_hash",), 2, source) if isinstance(job, Job)]

    assert [(job.seed, job.placement) for job in found] == [(seed, place) for seed in (0, 1) for place in range(4)]
