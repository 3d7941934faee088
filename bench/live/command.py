"""`python -m bench.live`: options, the run arm by arm, and how it ends."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import click
import uvloop
from rich.console import Console

from bench.live import trial
from bench.live.agreement import Row, agrees, compare, has_same_order
from bench.live.fronts import LIVE_ARMS, LiveArm
from bench.live.own import Own, ask
from bench.live.report import show
from bench.live.simulated import simulate
from bench.policies.arrivals import TraceError, read_trace
from bench.policies.fleets import FLEETS
from bench.policies.output import opened, progress
from bench.policies.report import WIDTH
from bench.policies.samples import sample
from bench.policies.workloads import Workload, build
from spoe_agent import __version__
from spoe_agent.fleet import FleetError
from spoe_agent.fleet import load as load_fleet
from spoe_agent.rig.process import RigError
from spoe_agent.simulator import GPU_SPEEDS
from spoe_agent.simulator.virtual.fleet import FleetPlan, fits

WORKLOADS = ("W1", "W2", "WX", "W4-1.05")
"""Those of plain prompts: no sessions, no embeddings, no clients that leave."""


PLAIN = [
    name
    for name, plan in FLEETS.items()
    if plan.fault is None and all(fits(model, profile) for model in plan.models for profile in plan.instances)
]
"""Fleets in which nothing is made to go wrong, and in which no model needs a backend of its own."""


@click.command()
@click.option("--fleet", type=click.Choice(PLAIN), default="F4", show_default=True)
@click.option(
    "--own",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Before the running Ollamas of this fleet file, which are emptied first, instead of simulated ones.",
)
@click.option(
    "--gpu", type=click.Choice(list(GPU_SPEEDS)), default="h100", show_default=True, help="What --own runs on."
)
@click.option("--load", type=click.FloatRange(0.01, 2.0), default=0.15, show_default=True, help="Of nominal.")
@click.option("--workload", type=click.Choice(WORKLOADS), default="W1", show_default=True)
@click.option("--arm", "arms", type=click.Choice(list(LIVE_ARMS)), multiple=True, help="Fronts; repeatable.")
@click.option(
    "--trace",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="ServeGen CSV, Azure CSV or Mooncake JSON lines; without it, made-up traffic.",
)
@click.option("--requests", type=click.IntRange(10), default=600, show_default=True, help="The first so many.")
@click.option(
    "--time-scale",
    type=click.FloatRange(0, min_open=True),
    default=5.0,
    show_default=True,
    help="The fleet's seconds per real second.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of a table.")
@click.option(
    "--records", type=click.Path(dir_okay=False, path_type=Path), help="Write every request as a JSON line to FILE."
)
def live(
    fleet: str,
    own: Path | None,
    gpu: str,
    load: float,
    workload: str,
    arms: tuple[str, ...],
    trace: Path | None,
    requests: int,
    time_scale: float,
    as_json: bool,
    records: Path | None,
) -> None:
    """Compare real fronts: nginx, HAProxy, HAProxy with the agent, before simulated instances or --own."""
    try:
        arrivals = None if trace is None else read_trace(trace)
        chosen = _installed([LIVE_ARMS[name] for name in arms or LIVE_ARMS])
        theirs = None if own is None else asyncio.run(ask(own, load_fleet(own), gpu))
        plan, time_scale = (FLEETS[fleet], time_scale) if theirs is None else (theirs.plan, 1.0)
        work = build(workload, plan, load, 0, arrivals, requests)
        rows = _rows(plan, theirs, work, chosen, time_scale, records)
    except (TraceError, RigError, FleetError) as error:
        raise click.ClickException(str(error)) from error
    if as_json:
        place = {"fleet": plan.name, "load": load, "workload": workload, "regime": work.regime}
        click.echo(
            json.dumps(
                _as_dict(rows, place) | {"time_scale": time_scale, "trace": None if trace is None else trace.name}
            )
        )
        return
    output = Console()
    output.width = max(output.width, WIDTH)
    output.print(
        f"[bold]{work.regime}[/]  fleet {plan.name}, load {load:.2f}, workload {workload}, "
        f"{len(work.requests)} requests, {_instances(theirs, time_scale)} behind real fronts"
    )
    show(output, rows)


def _instances(own: Own | None, time_scale: float) -> str:
    return "own instances" if own is not None else f"simulated instances {time_scale:g} times as fast as life"


def _installed(arms: Sequence[LiveArm]) -> list[LiveArm]:
    """Leave out, with a line for each, the arms whose program is missing. Raises RigError when none is left."""
    found, missing = [], ""
    for arm in arms:
        try:
            arm.find()
        except RigError as error:
            missing = str(error)
            click.echo(f"{arm.name} is skipped: {missing}", err=True)
        else:
            found.append(arm)
    if not found:
        raise RigError(missing)
    return found


def _rows(
    plan: FleetPlan,
    own: Own | None,
    work: Workload,
    arms: Sequence[LiveArm],
    time_scale: float,
    records: Path | None,
) -> list[Row]:
    """Run one arm after another, then each in discrete events."""
    with ExitStack() as stack:
        file = stack.enter_context(opened(records))
        done = stack.enter_context(progress(len(arms) * len(work.requests), "replaying"))
        runner = stack.enter_context(asyncio.Runner(loop_factory=uvloop.new_event_loop))
        trials = []
        for arm in arms:
            one = trial.run(arm, plan, work, time_scale, done) if own is None else trial.run_own(arm, own, work, done)
            trials.append(runner.run(one))
            for sent in trials[-1].sent if file is not None else ():
                line = {"arm": arm.name} | sample(sent.record).as_dict() | {"slip": sent.slip_s}
                print(json.dumps(line), file=file)
    return compare(trials, {arm.name: simulate(arm.name, plan, work, time_scale) for arm in arms})


def _as_dict(rows: Sequence[Row], place: Mapping[str, object]) -> dict[str, object]:
    """Each row says where it belongs, as those of `bench policies` do."""
    return {
        "version": __version__,
        **place,
        "rows": [{**place, **row.as_dict()} for row in rows],
        "agrees": agrees(rows),
        "same_order": has_same_order(rows),
        "void": any(row.is_void for row in rows),
    }
