"""`pointsman check`: the file, what is doubtful around it, and with --live whether everybody is there."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click

from spoe_agent.fleet import Fleet, FleetError, find, load
from spoe_agent.fleet.document import read
from spoe_agent.fleet.option import FILE, fleet_option
from spoe_agent.fleet.problems import Problem, dotted
from spoe_agent.process.quiet import quiet
from spoe_agent.surroundings.remark import Level
from spoe_agent.surroundings.table import Depth, examine


@click.command()
@click.argument("files", nargs=-1, type=FILE, metavar="[FILE]...")
@fleet_option
@click.option("--live", is_flag=True, help="Ask each Ollama, look at ports and HAProxy too; exit 1 if any fails.")
def check(files: tuple[Path, ...], fleet_file: Path | None, live: bool) -> None:
    """Check fleet files; print every problem with file, line and key, and exit 1 if there is any.

    What is doubtful on this host is printed as a warning: names that lead nowhere, GPUs that nobody reads or names.
    """
    named = (*files, *([fleet_file] if fleet_file else []))
    results = [_checked(path, live) for path in named or (None,)]
    if not all(results):
        raise SystemExit(1)


def _checked(path: Path | None, live: bool) -> bool:
    try:
        found = find(path)
        fleet = load(found)
    except FleetError as error:
        click.echo(str(error), err=True)
        return False
    click.echo(f"{found}: ok, {_summary(fleet)}")
    with quiet():
        _warned(fleet, found)
        return _live(fleet) if live else True


def _summary(fleet: Fleet) -> str:
    return f"{_count(len(fleet.instances), 'instance')}, {_count(len(fleet.models), 'model rule')}"


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}{'' if number == 1 else 's'}"


def _warned(fleet: Fleet, file: Path) -> None:
    document = read(file.read_text(encoding="utf-8-sig"), str(file))
    for one in asyncio.run(examine(fleet, [Depth.FILE])):
        line = document.line(one.path) if one.path else None
        click.echo(str(Problem(str(file), line, dotted(one.path), f"warning: {one.text}", one.hint)), err=True)


def _live(fleet: Fleet) -> bool:
    remarks = asyncio.run(examine(fleet, [Depth.LIVE]))
    for remark in remarks:
        click.echo(f"{remark.level:5} {remark.text}")
    return all(remark.level is not Level.WRONG for remark in remarks)
