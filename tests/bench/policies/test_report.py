from __future__ import annotations

import pytest
from rich.console import Console

from bench.policies.bounds import Bounds
from bench.policies.capacity import Capacity
from bench.policies.cells import Cell
from bench.policies.report import WIDTH, show, show_capacities
from bench.policies.verdicts import verdict
from tests.simulator.virtual.builders import run, sample


def test_a_cell_shows_policies_floor_and_goals() -> None:
    slow, fast = ([run([sample(n * 10.0, ttft=ttft) for n in range(100)])] for ttft in (4.0, 1.0))
    bounds = Bounds(0.123, 0.2, 0.3, 0.4, None, None)
    console = Console(width=WIDTH, color_system=None)
    with console.capture() as capture:
        show(console, verdict(Cell("F4", 0.3, "W1"), ("R1",), {"leastconn": slow, "pointsman": fast}, bounds))
    text = capture.get()

    assert "R1  fleet F4, load 0.30, workload W1, 100 requests, simulated" in text
    (ours,) = (line.split() for line in text.splitlines() if line.strip().startswith("pointsman"))
    assert ours == [
        "pointsman",
        "1.000",
        "1.000",
        "1.000",
        "2.000",
        "100.0%",
        "0.0",
        "0",
        "0.25",
        "0.25",
        "0.25",
        "0.40",
        "0.000",
    ]
    assert "0.123" in text
    assert "missed ttft_mean 0.25 (goal <= 0.2, missed by a factor of 1.25)" in text
    assert "met    e2e_mean 0.4 (goal <= 0.55)" in text


def test_how_many_windows_are_behind_it() -> None:
    windows = [run([sample(9.0)], window=number) for number in range(3)]
    console = Console(width=WIDTH, color_system=None)
    with console.capture() as capture:
        show(console, verdict(Cell("F4", 0.3, "W1"), ("R1", "RX", "R1"), {"leastconn": windows}, None))

    assert "R1 (2 of 3)  fleet F4, load 0.30, workload W1, 3 windows, 3 requests" in capture.get()


def test_a_closed_loop_has_users_and_no_load() -> None:
    console = Console(width=WIDTH, color_system=None)
    with console.capture() as capture:
        show(console, verdict(Cell("F4", None, "CL"), ("R1",), {"leastconn": [run([sample(9.0)])]}, None))

    assert "fleet F4, 64 users, workload CL" in capture.get()


@pytest.mark.parametrize(("ttft", "is_told"), [(59.0, False), (61.0, True)])
def test_a_swamped_baseline_is_told(ttft: float, is_told: bool) -> None:
    console = Console(width=WIDTH, color_system=None)
    with console.capture() as capture:
        show(console, verdict(Cell("F4", 0.3, "W1"), ("R1",), {"leastconn": [run([sample(9.0, ttft=ttft)])]}, None))

    assert ("cannot carry this load" in capture.get()) is is_told


def test_goals_that_a_swamped_baseline_cannot_judge_are_neither_met_nor_missed() -> None:
    slow, fast = ([run([sample(n * 10.0, ttft=ttft) for n in range(100)])] for ttft in (80.0, 1.0))
    console = Console(width=WIDTH, color_system=None)
    with console.capture() as capture:
        show(console, verdict(Cell("F4", 0.3, "W1"), ("R1",), {"leastconn": slow, "pointsman": fast}, None))

    assert "baseline saturated: ttft_mean 0.0125 (goal <= 0.2)" in capture.get()


def test_capacities_are_shown_if_there_are_any() -> None:
    console = Console(width=WIDTH, color_system=None)
    with console.capture() as capture:
        show_capacities(console, [])
        show_capacities(
            console,
            [
                Capacity("F4", "W1", "leastconn", None, False),
                Capacity("F4", "W1", "bounded_hash", 0.1234, False),
                Capacity("F4", "W1", "pointsman", 0.5, True),
            ],
        )

    assert [line.split(maxsplit=3) for line in capture.get().splitlines()[1:]] == [
        ["F4", "W1", "leastconn", "below the lowest load run"],
        ["F4", "W1", "bounded_hash", "0.123"],
        ["F4", "W1", "pointsman", "0.500 or more"],
    ]
