"""The command `render`: writes other programs' files."""

from __future__ import annotations

import re
from pathlib import Path

import click

from spoe_agent.fleet import Fleet, FleetError, Instance, find, load
from spoe_agent.fleet.option import fleet_option
from spoe_agent.haproxy.render import haproxy_files, write
from spoe_agent.instances.environment import UnnamedGpu, environment


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
    """Write haproxy.cfg, spoe-pointsman.conf, the map of models, origins, hosts and error bodies."""
    texts = haproxy_files(_fleet(fleet_file))
    _write(texts, out)
    click.echo(f"{len(texts)} files written to {out}; try: haproxy -c -f {out / 'haproxy.cfg'}")


@render.command()
@fleet_option
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="Folder for one file, NAME.env, each.")
@click.argument("name", required=False)
def env(fleet_file: Path | None, out: Path | None, name: str | None) -> None:
    """Print the environment that each Ollama is to be started with, or that of instance NAME.

    With --out, each is a file as systemd's EnvironmentFile= and shells read it.
    """
    instances = _fleet(fleet_file).instances
    chosen = [one for one in instances if name in (None, one.name)]
    if not chosen:
        raise click.ClickException(f"there is no instance {name}; there are {', '.join(one.name for one in instances)}")
    try:
        texts = {f"{one.name}.env": _env_file(one) for one in chosen}
    except UnnamedGpu as error:
        raise click.ClickException(str(error)) from error
    if out is None:
        click.echo("\n".join(texts.values()), nl=False)
        return
    _write(texts, out)
    click.echo(f"{len(texts)} files written to {out}")


def _env_file(instance: Instance) -> str:
    head = f"# Ollama {instance.name}. Written by `pointsman render env`; edit the fleet file, then render again.\n"
    return head + "".join(f"{name}={_quoted(value)}\n" for name, value in environment(instance).items())


def _quoted(value: str) -> str:
    """Return a value as systemd (load-fragment, EnvironmentFile=) and shells take it for what it is."""
    return value if re.fullmatch(r"[A-Za-z0-9/@.,:_-]*", value) else '"' + re.sub(r'(["\\`$])', r"\\\1", value) + '"'


def _fleet(fleet_file: Path | None) -> Fleet:
    try:
        return load(find(fleet_file))
    except FleetError as error:
        raise click.ClickException(str(error)) from error


def _write(texts: dict[str, str], out: Path) -> None:
    try:
        write(texts, out)
    except OSError as error:
        raise click.ClickException(f"cannot write: {error}") from error
