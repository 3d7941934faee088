"""The result for people: a table per cell, the goals, met or missed.

Must not live here: figures.
"""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from spoe_agent.benchmark.arms import BASELINE
from spoe_agent.benchmark.compare import Ratio
from spoe_agent.benchmark.goals import Goal
from spoe_agent.benchmark.verdicts import Row

_COLUMNS = ("TTFT mean s", "p95", "p99", "e2e mean s", "SLO", "loads/1000", "loading", "failed")
_RATIOS = ("ttft_mean", "ttft_p95", "ttft_p99", "e2e_mean")


def show(console: Console, rows: Sequence[Row], goals: Sequence[Goal]) -> None:
    """Print one cell."""
    first = rows[0]
    title = f"{first.regime}  fleet {first.cell.fleet}, load {first.cell.load:.2f}, workload {first.cell.workload}"
    table = Table(title=f"{title}, {first.figures.requests} requests, simulated", title_justify="left")
    table.add_column("policy")
    for name in (*_COLUMNS, f"of {BASELINE}: mean", "p95", "p99", "e2e"):
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(row.arm, *_figures(row), *(_ratio(row.ratios.get(name)) for name in _RATIOS))
    if first.bounds is not None:
        floor = first.bounds
        times = (floor.floor_ttft_mean, floor.floor_ttft_p95, floor.floor_ttft_p99, floor.floor_e2e_mean)
        table.add_row("no policy below", *(f"{time:.3f}" for time in times), style="dim")
    console.print(table)
    for goal in goals:
        console.print(_verdict(goal))
    console.print()


def _figures(row: Row) -> list[str]:
    of = row.figures
    return [
        f"{of.ttft_mean:.3f}",
        f"{of.ttft_p95:.3f}",
        f"{of.ttft_p99:.3f}",
        f"{of.e2e_mean:.3f}",
        f"{of.slo:.1%}",
        f"{of.loads_per_1000:.1f}",
        f"{of.loading_share:.1%}",
        str(of.failed),
    ]


def _ratio(ratio: Ratio | None) -> str:
    return "" if ratio is None else f"{ratio.value:.2f} (<{ratio.upper:.2f})"


def _verdict(goal: Goal) -> str:
    sign = ">=" if goal.at_least else "<="
    met = "[green]met[/]   " if goal.met else "[red]missed[/]"
    by = "" if goal.met else f", missed by a factor of {goal.missed_by:.2f}"
    return f"  {met} {goal.name} {goal.value:.3g} (goal {sign} {goal.limit:.3g}{by})"
