"""The command `render`: writes other programs' files."""

from __future__ import annotations

from pathlib import Path

import click

from spoe_agent.fleet import FleetError, find, load
from spoe_agent.fleet.option import fleet_option
from spoe_agent.haproxy.render import haproxy_files, write


@click.group()
def render() -> None:
    """Write other programs' files from the fleet file."""


@render.command()
@fleet_option
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("haproxy"),
    show_default=True,
    help="Folder for haproxy.cfg and the files beside it.",
)
def haproxy(fleet_file: Path | None, out: Path) -> None:
    """Write haproxy.cfg, spoe-pointsman.conf, pins, origins and error bodies."""
    try:
        texts = haproxy_files(load(find(fleet_file)))
        write(texts, out)
    except FleetError as error:
        raise click.ClickException(str(error)) from error
    except OSError as error:
        raise click.ClickException(f"cannot write: {error}") from error
    click.echo(f"{len(texts)} files written to {out}; try: haproxy -c -f {out / 'haproxy.cfg'}")
