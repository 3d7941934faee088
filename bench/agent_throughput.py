"""What the agent costs: HAProxy without and with it, in one run on one machine.

Three arms beside each other, each under the same load (wrk) in turn, with the same upstream (`throughput_upstream`):
`alone` is HAProxy balancing by leastconn; `reads bodies` waits for the body; `agent` is the whole. Ratios are of
neighbours in time, and medians of the rounds. Run it: make bench, or make bench ARGS="--size 1MB --connections 32"
"""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from itertools import product
from statistics import median

import click
from rich.console import Console
from rich.table import Table

from bench.throughput_load import MIXED, PLACES, SIZES, Load, Measured, measured
from bench.throughput_rig import AGENT, ALONE, ARMS, INSTANCES, READS_BODIES, rig
from bench.throughput_upstream import AT_ONCE, MODES
from spoe_agent.rig.haproxy import find_haproxy, version
from spoe_agent.rig.process import RigError

CONNECTIONS = (1, 32, 256)


@click.command()
@click.option("--seconds", default=5, show_default=True, help="Length of each measurement.")
@click.option(
    "--size", "sizes", multiple=True, type=click.Choice([*SIZES, MIXED]), help="Of bodies.  [default: all five]"
)
@click.option("--model", "places", multiple=True, type=click.Choice(PLACES), help="[default: both]")
@click.option("--connections", default=CONNECTIONS, multiple=True, show_default=True)
@click.option("--answers", default=AT_ONCE, type=click.Choice(MODES), show_default=True)
@click.option("--rounds", default=1, show_default=True, help="Figures are the medians of so many.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of a table.")
def main(
    seconds: int,
    sizes: tuple[str, ...],
    places: tuple[str, ...],
    connections: tuple[int, ...],
    answers: str,
    rounds: int,
    as_json: bool,
) -> None:
    """Print what the agent costs."""
    if shutil.which("wrk") is None:
        raise click.ClickException("wrk is not installed; for example: apt-get install wrk")
    loads = [Load(*one) for one in product(sizes or SIZES, places or PLACES, connections)]
    try:
        rows = asyncio.run(_run(seconds, loads, answers, rounds))
    except RigError as error:
        raise click.ClickException(str(error)) from error
    if as_json:
        click.echo(json.dumps({"rows": [asdict(row) for row in rows]}))
    else:
        _print(rows, answers)


async def _run(seconds: int, loads: Sequence[Load], answers: str, rounds: int) -> list[Measured]:
    async with rig(ARMS, answers) as it:
        return [
            await measured(front, one, seconds, it.folder, it.fleet)
            for one in loads
            for _ in range(rounds)
            for front in it.fronts
        ]


def _print(rows: Sequence[Measured], answers: str) -> None:
    title = f"HAProxy {version(find_haproxy())}, one thread, {INSTANCES} instances, answers {answers}; CPU s per 1,000"
    table = Table(title=title)
    for column in (
        *("body", "model", "clients", "arm", "requests/s", "of alone", "of reading", "p50 ms", "added", "p99 ms"),
        *("errors", "fell back", "HAProxy s", "agent s", "HAProxy MB", "agent MB"),
    ):
        table.add_column(column, justify="left" if column in ("body", "model", "arm") else "right", no_wrap=True)
    for load_ in dict.fromkeys((row.size, row.place, row.connections) for row in rows):
        same = [row for row in rows if (row.size, row.place, row.connections) == load_]
        rounds = {arm: [row for row in same if row.arm == arm] for arm in ARMS}
        for arm in ARMS:
            table.add_row(load_[0], load_[1], str(load_[2]), arm, *_figures(arm, rounds), end_section=arm == AGENT)
    Console(width=None if sys.stdout.isatty() else 180).print(table)


def _figures(arm: str, rounds: dict[str, list[Measured]]) -> list[str]:
    own = rounds[arm]
    beside = [(row, *others) for row, *others in zip(own, rounds[ALONE], rounds[READS_BODIES], strict=True)]
    return [
        _median(",.0f", (row.requests_per_s for row in own)),
        _median(".2f", (row.requests_per_s / alone.requests_per_s for row, alone, _ in beside)),
        _median(".2f", (row.requests_per_s / reading.requests_per_s for row, _, reading in beside)),
        _median(".3f", (row.p50_ms for row in own)),
        _median("+.3f", (row.p50_ms - alone.p50_ms for row, alone, _ in beside)),
        _median(".3f", (row.p99_ms for row in own)),
        str(sum(row.errors for row in own)),
        f"{sum(row.fell_back for row in own) / len(own):.1%}",
        _median(".3f", (row.haproxy_s for row in own)),
        _median(".3f", (row.agent_s for row in own)),
        _median(".0f", (row.haproxy_mb for row in own)),
        _median(".0f", (row.agent_mb for row in own)),
    ]


def _median(form: str, values: Iterable[float]) -> str:
    return format(median(values), form)


if __name__ == "__main__":
    main()
