"""`pointsman check` and `pointsman schema`.

Must not live here: rules of the fleet file.
"""

from __future__ import annotations

import json
from pathlib import Path

import click

from spoe_agent.fleet.load import find, load
from spoe_agent.fleet.problems import FleetError
from spoe_agent.fleet.resolved import Fleet
from spoe_agent.fleet.schema import json_schema

_FILE = click.Path(path_type=Path)


@click.command()
@click.argument("files", nargs=-1, type=_FILE, metavar="[FILE]...")
@click.option("--fleet", type=_FILE, help="Fleet file. Default: ./fleet.yaml, else /etc/pointsman/fleet.yaml.")
def check(files: tuple[Path, ...], fleet: Path | None) -> None:
    """Check fleet files; print every problem with file, line and key, and exit 1 if there is any."""
    named = (*files, *([fleet] if fleet else []))
    results = [_checked(path) for path in named or (None,)]
    if not all(results):
        raise SystemExit(1)


def _checked(path: Path | None) -> bool:
    try:
        found = find(path)
        click.echo(f"{found}: ok, {_summary(load(found))}")
    except FleetError as error:
        click.echo(str(error), err=True)
        return False
    return True


def _summary(fleet: Fleet) -> str:
    return f"{_count(len(fleet.instances), 'instance')}, {_count(len(fleet.models), 'model rule')}"


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}{'' if number == 1 else 's'}"


@click.command()
def schema() -> None:
    """Print the JSON schema of the fleet file, for editors that complete and check YAML."""
    click.echo(json.dumps(json_schema(), indent=2))
