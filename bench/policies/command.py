"""`python -m bench.policies`: options, the run, and how it is shown."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path

import click
from rich.console import Console

from bench.policies import plan
from bench.policies.arms import ARMS, COMPARED
from bench.policies.arrivals import TraceError, read_trace
from bench.policies.capacity import capacities
from bench.policies.cells import Arrivals, Cell, has_solver, workload
from bench.policies.fleets import FLEETS
from bench.policies.mixes import WORKLOADS, varies
from bench.policies.output import opened, progress
from bench.policies.report import WIDTH, show, show_capacities
from bench.policies.study import Study
from bench.policies.verdicts import Row, Verdict
from bench.policies.workloads import TooShort
from spoe_agent import __version__


@click.command()
@click.option("--fleet", "fleets", type=click.Choice(list(FLEETS)), multiple=True, help="Repeatable.")
@click.option("--load", "loads", type=click.FloatRange(0.01, 2.0), multiple=True, help="Of nominal; repeatable.")
@click.option("--workload", "workloads", type=click.Choice(list(WORKLOADS)), multiple=True, help="Repeatable.")
@click.option(
    "--arm",
    "arms",
    type=click.Choice(list(ARMS)),
    multiple=True,
    help="Policies; repeatable. Without it, all but pointsman-...",
)
@click.option("--seeds", type=click.IntRange(1), default=1, show_default=True, help="Windows of generated traffic.")
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
    _check_plot(plot)
    source = Arrivals(trace, requests or (plan.QUICK_REQUESTS if quick else None))
    wanted = plan.cells(fleets, loads, workloads, quick)
    _check(wanted, seeds, source)
    chosen = arms or (plan.QUICK_ARMS if quick else tuple(arm.name for arm in COMPARED))
    output, verdicts = Console(), []
    output.width = max(output.width, WIDTH)
    with ExitStack() as stack:
        study = Study(plan.jobs(wanted, chosen, seeds, source), stack.enter_context(opened(records)))
        for verdict in study.run(processes, stack.enter_context(progress(study.size, "simulating"))):
            verdicts.append(verdict)
            if not as_json:
                show(output, verdict)
    if plot is not None:
        _plot(plot, _rows(verdicts))
    if as_json:
        click.echo(json.dumps(_as_dict(verdicts, seeds, trace)))
        return
    show_capacities(output, capacities(_rows(verdicts)))
    if not has_solver():
        output.print("No floor of loading: it needs scipy. Try: pip install -e '.[dev]'")


def _rows(verdicts: Sequence[Verdict]) -> list[Row]:
    return [row for verdict in verdicts for row in verdict.rows]


def _check(wanted: Sequence[Cell], seeds: int, source: Arrivals) -> None:
    """Tell before work starts what would fail later, or count what is the same as several windows."""
    try:
        arrivals = None if source.trace is None else read_trace(source.trace)
        for cell in wanted:
            if cell.workload == "RS" or FLEETS[cell.fleet].fault is not None:
                for seed in range(seeds):
                    workload(cell, seed, source)
    except (TraceError, TooShort) as error:
        raise click.ClickException(str(error)) from error
    same = dict.fromkeys(cell.workload for cell in wanted if not varies(cell.workload, arrivals))
    if seeds > 1 and same:
        others = ", ".join(name for name in WORKLOADS if varies(name, arrivals))
        raise click.UsageError(
            f"--seeds vary generated traffic only: with this trace {', '.join(same)} would be the same every time. "
            f"Leave --seeds out, or take of the workloads that vary: {others}"
        )


def _check_plot(path: Path | None) -> None:
    if path is not None and find_spec("matplotlib") is None:
        raise click.ClickException("--plot needs matplotlib. Try: pip install -e '.[dev]'")


def _plot(path: Path, rows: Sequence[Row]) -> None:
    from bench.policies.plot import draw

    try:
        draw(path, rows)
    except (OSError, ValueError) as error:
        raise click.ClickException(f"cannot draw {path}: {error}") from error


def _as_dict(verdicts: Sequence[Verdict], seeds: int, trace: Path | None) -> dict[str, object]:
    return {
        "version": __version__,
        "simulated": True,
        "seeds": seeds,
        "trace": None if trace is None else trace.name,
        "rows": [row.as_dict() for row in _rows(verdicts)],
        "goals": [goal.as_dict() | verdict.place() for verdict in verdicts for goal in verdict.goals],
        "capacities": [capacity.as_dict() for capacity in capacities(_rows(verdicts))],
    }
