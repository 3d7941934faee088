"""`pointsman bench policies`: options, the run, and how it is shown.

Must not live here: simulations, figures.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from spoe_agent import __version__
from spoe_agent.benchmark import plan
from spoe_agent.benchmark.arms import ARMS, BASELINE, IDEAL
from spoe_agent.benchmark.arrivals import TraceError, read_trace
from spoe_agent.benchmark.cells import Cell, Done, Job, Source, run_all
from spoe_agent.benchmark.fleets import FLEETS
from spoe_agent.benchmark.floors import NO_SOLVER, cell_bounds, has_solver
from spoe_agent.benchmark.goals import Goal
from spoe_agent.benchmark.report import show
from spoe_agent.benchmark.summary import Run
from spoe_agent.benchmark.verdicts import Row, cell_goals, rows
from spoe_agent.benchmark.workloads import WORKLOADS

Verdict = tuple[list[Row], list[Goal]]


@click.group()
def bench() -> None:
    """Measure routing, on simulated fleets."""


@bench.command()
@click.option("--fleet", "fleets", type=click.Choice(list(FLEETS)), multiple=True, help="Repeatable.")
@click.option("--load", "loads", type=click.FloatRange(0.01, 2.0), multiple=True, help="Of nominal; repeatable.")
@click.option("--workload", "workloads", type=click.Choice(list(WORKLOADS)), multiple=True, help="Repeatable.")
@click.option("--arm", "arms", type=click.Choice(list(ARMS)), multiple=True, help="Policies; repeatable.")
@click.option("--seeds", type=click.IntRange(1), default=1, show_default=True, help="Runs per cell and policy.")
@click.option(
    "--trace",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="ServeGen CSV, Azure CSV or Mooncake JSON lines; without it, made-up traffic.",
)
@click.option("--requests", type=click.IntRange(10), help="Use only so many of the workload.")
@click.option("--processes", type=click.IntRange(1), default=os.cpu_count() or 1, show_default=True)
@click.option("--quick", is_flag=True, help="A few cells, few policies, 4000 requests.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of tables.")
@click.option("--plot", type=click.Path(dir_okay=False, path_type=Path), help="Draw ratios to FILE.png or FILE.svg.")
@click.option(
    "--records", type=click.Path(dir_okay=False, path_type=Path), help="Write every request as a JSON line to FILE."
)
def policies(
    fleets: tuple[str, ...],
    loads: tuple[float, ...],
    workloads: tuple[str, ...],
    arms: tuple[str, ...],
    seeds: int,
    trace: Path | None,
    requests: int | None,
    processes: int,
    quick: bool,
    as_json: bool,
    plot: Path | None,
    records: Path | None,
) -> None:
    """Compare routing policies: hours of virtual time, the same requests for each."""
    source = Source(_checked(trace), requests or (plan.QUICK_REQUESTS if quick else None))
    wanted = plan.cells(fleets, loads, workloads, quick)
    chosen = arms or (plan.QUICK_ARMS if quick else tuple(ARMS))
    output = Console()
    verdicts = []
    for found in _verdicts(plan.jobs(wanted, chosen, seeds, source), processes, records):
        verdicts.append(found)
        if not as_json:
            show(output, *found)
    if as_json:
        click.echo(json.dumps(_as_dict(verdicts, seeds, trace)))
    elif not has_solver():
        output.print(NO_SOLVER)
    if plot is not None:
        _draw(plot, [row for found, _ in verdicts for row in found])


def _checked(trace: Path | None) -> Path | None:
    """Read the trace once now, so that a bad one is told before work starts."""
    if trace is not None:
        try:
            read_trace(trace)
        except TraceError as error:
            raise click.ClickException(str(error)) from error
    return trace
