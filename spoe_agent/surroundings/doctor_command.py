"""`pointsman doctor`: everything that commonly goes wrong, each with what to do."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click

from spoe_agent.fleet import FleetError, find, load
from spoe_agent.fleet.option import fleet_option
from spoe_agent.process.quiet import quiet
from spoe_agent.surroundings.remark import Level
from spoe_agent.surroundings.table import Depth, examine


@click.command()
@fleet_option
@click.option("--all", "all_of_it", is_flag=True, help="Print what is well, too.")
def doctor(fleet_file: Path | None, all_of_it: bool) -> None:
    """Look for everything that commonly goes wrong, and say what to do; exit 1 if anything is wrong.

    The fleet file, Ollamas and what they were started with, GPUs, ports, HAProxy, sockets, clocks, open files. Of
    other users' processes only root sees all.
    """
    try:
        path = find(fleet_file)
        fleet = load(path)
    except FleetError as error:
        raise click.ClickException(str(error)) from error
    with quiet():
        remarks = asyncio.run(examine(fleet, Depth))
    for remark in remarks:
        if all_of_it or remark.level is not Level.OK:
            click.echo(str(remark))
    levels = [remark.level for remark in remarks]
    bad, doubtful = levels.count(Level.WRONG), levels.count(Level.NOTE)
    click.echo(f"{path}: {bad} wrong, {doubtful} to note, {levels.count(Level.OK)} well")
    if bad:
        raise SystemExit(1)
