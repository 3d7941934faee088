"""What bodies leave behind in the memory of HAProxy and of the agent.

Small requests, many mixed ones (up to 4 MB, `model` first and last), a crowd of large ones at once, small ones again;
resident memory after each. One thread, as in agent_throughput. Run it: python -m bench.body_memory
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from itertools import cycle

import click

from bench.throughput_load import MIXED, PLACES, Load, Measured, measured
from bench.throughput_rig import AGENT, Rig, rig
from bench.throughput_upstream import AT_ONCE
from spoe_agent.rig.haproxy import find_haproxy, version
from spoe_agent.rig.process import RigError

SMALL = Load("small", "first", 32)
CROWD = Load("1MB", "last", 256)
LINE = "{:>6} {:>6} {:>8} {:>9} {:>7} {:>10} {:>11} {:>9} {:>9}"
HEAD = "body", "model", "clients", "requests", "errors", "fell back", "HAProxy MB", "its peak", "agent MB"


@click.command()
@click.option("--requests", default=100_000, show_default=True, help="Mixed ones, at least.")
@click.option("--seconds", default=10, show_default=True, help="Length of each step; after each, memory is looked at.")
def main(requests: int, seconds: int) -> None:
    """Print what bodies leave behind in memory, a line for each step."""
    if shutil.which("wrk") is None:
        raise click.ClickException("wrk is not installed; for example: apt-get install wrk")
    try:
        asyncio.run(_run(requests, seconds))
    except RigError as error:
        raise click.ClickException(str(error)) from error


async def _run(requests: int, seconds: int) -> None:
    click.echo(f"HAProxy {version(find_haproxy())}, one thread\n{LINE.format(*HEAD)}")
    async with rig([AGENT], AT_ONCE) as it:
        async for row in _steps(it, requests, seconds):
            click.echo(_line(row))


async def _steps(it: Rig, requests: int, seconds: int) -> AsyncIterator[Measured]:
    (front,) = it.fronts
    yield await measured(front, SMALL, seconds, it.folder, it.fleet)
    left = requests
    for place in cycle(PLACES):
        row = await measured(front, Load(MIXED, place, 32), seconds, it.folder, it.fleet)
        yield row
        left -= row.requests
        if left <= 0:
            break
    for load in CROWD, SMALL:
        yield await measured(front, load, seconds, it.folder, it.fleet)


def _line(row: Measured) -> str:
    memory = f"{row.haproxy_mb:.0f}", f"{row.haproxy_peak_mb:.0f}", f"{row.agent_mb:.0f}"
    counts = row.connections, f"{row.requests:,}", row.errors, f"{row.fell_back:.2%}"
    return LINE.format(row.size, row.place, *counts, *memory)


if __name__ == "__main__":
    main()
