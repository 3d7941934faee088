"""The result for people: a table per cell, the goals, met or missed."""

from __future__ import annotations

from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from bench.policies.arms import BASELINE, OURS
from bench.policies.capacity import ATTAINMENT, Capacity
from bench.policies.cells import Cell
from bench.policies.goals import Goal
from bench.policies.users import USERS
from bench.policies.verdicts import Row, Verdict

WIDTH = 136
"""Columns that a table needs; where the terminal is narrower its lines wrap."""

_FIGURES = ("ttft", "salts", "p95", "p99", "e2e", "SLO", "loads/k", "failed")
_RATIOS = {"x ttft": "ttft_mean", "x p95": "ttft_p95", "x p99": "ttft_p99", "x e2e": "e2e_mean"}


def show(console: Console, verdict: Verdict) -> None:
    """Print one cell: seconds, loads per 1000 requests, and multiples of the baseline."""
    first = verdict.rows[0]
    cell = first.cell
    console.print(
        f"[bold]{_regime(first)}[/]  fleet {cell.fleet}, {_offered(cell)}, workload {cell.workload}, "
        f"{_windows(first)}{first.figures.requests:.0f} requests, simulated; x: times {BASELINE}'s"
    )
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    table.add_column("seconds", no_wrap=True)
    for name in (*_FIGURES, *_RATIOS, "±"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in verdict.rows:
        table.add_row(row.arm, *_figures(row), *_multiples(row), style="bold" if row.arm == OURS else "")
    if first.bounds is not None:
        floor = first.bounds
        others = (floor.floor_ttft_p95, floor.floor_ttft_p99, floor.floor_e2e_mean)
        table.add_row("floor", f"{floor.floor_ttft_mean:.3f}", "", *(f"{time:.3f}" for time in others), style="dim")
    console.print(table)
    if first.baseline_swamped:
        console.print(f"  [yellow]{BASELINE} cannot carry this load: work piled up, so multiples of it say little[/]")
    for goal in verdict.goals:
        console.print(_verdict(goal))
    console.print()


def show_capacities(console: Console, found: Sequence[Capacity]) -> None:
    """Print which load each policy carries, if loads enough were run."""
    if not found:
        return
    console.print(f"[bold]load at which {ATTAINMENT:.0%} of the requests are in time[/]")
    for one in found:
        load = "below the lowest load run" if one.load is None else f"{one.load:.3f}"
        console.print(f"  {one.fleet} {one.workload} {one.arm:18} {load}{' or more' if one.is_least else ''}")


def _offered(cell: Cell) -> str:
    return f"{USERS} users" if cell.load is None else f"load {cell.load:.2f}"


def _windows(row: Row) -> str:
    return f"{len(row.regimes)} windows, " if len(row.regimes) > 1 else ""


def _regime(row: Row) -> str:
    """Windows may differ: then of how many it is."""
    alike = row.regimes.count(row.regime)
    return row.regime if alike == len(row.regimes) else f"{row.regime} ({alike} of {len(row.regimes)})"


def _figures(row: Row) -> list[str]:
    of = row.figures
    chance = f"±{of.ttft_chance:.0%}" if of.ttft_chance else ""
    times = (f"{time:.3f}" for time in (of.ttft_p95, of.ttft_p99, of.e2e_mean))
    return [f"{of.ttft_mean:.3f}", chance, *times, f"{of.slo:.1%}", f"{of.loads_per_1000:.1f}", f"{of.failed:g}"]


def _multiples(row: Row) -> list[str]:
    """To the baseline, and how far chance moves the first of them: windows, their blocks and salts drawn anew."""
    if not row.ratios:
        return []
    each = [f"{row.ratios[name].value:.2f}" for name in _RATIOS.values()]
    return [*each, f"{row.ratios['ttft_mean'].deviation:.3f}"]


def _verdict(goal: Goal) -> str:
    sign = ">=" if goal.at_least else "<="
    met = {True: "[green]met[/]   ", False: "[red]missed[/]", None: "[yellow]baseline saturated:[/]"}[goal.met]
    by = f", missed by a factor of {goal.missed_by:.2f}" if goal.met is False else ""
    return f"  {met} {goal.name} {goal.value:.3g} (goal {sign} {goal.limit:.3g}{by})"
