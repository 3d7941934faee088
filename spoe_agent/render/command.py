"""The command `render`: writes other programs' files. Only options and output live here."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

import spoe_agent
from spoe_agent import written
from spoe_agent.fleet import Fleet, FleetError, Instance, find, load
from spoe_agent.fleet.option import fleet_option
from spoe_agent.gpus.named import by_uuid, read_here
from spoe_agent.haproxy import render as of_haproxy
from spoe_agent.instances.environment import UnnamedGpu
from spoe_agent.instances.here import here
from spoe_agent.process.quiet import quiet
from spoe_agent.render import access, installed
from spoe_agent.render.compose import Folders, NotInContainers, compose_file
from spoe_agent.render.environment import environment_file
from spoe_agent.render.systemd import AGENT, FILES, Programs, units

_Command = TypeVar("_Command", bound=Callable[..., Any])
FOLDER = click.Path(file_okay=False, path_type=Path)


@click.group()
def render() -> None:
    """Write other programs' files from the fleet file.

    What was edited by hand since is not overwritten.
    """


def _how(command: _Command) -> _Command:
    diff = click.option("--diff", is_flag=True, help="Write nothing; show what would change.")
    force = click.option("--force", is_flag=True, help="Overwrite what was edited by hand, too.")
    return diff(force(command))


@render.command()
@fleet_option
@click.option("--out", type=FOLDER, default=Path("haproxy"), show_default=True, help="Folder for haproxy.cfg and more.")
@_how
def haproxy(fleet_file: Path | None, out: Path, diff: bool, force: bool) -> None:
    """Write haproxy.cfg, spoe-pointsman.conf, the map of models, origins, hosts and error bodies."""
    texts = of_haproxy.due(of_haproxy.haproxy_files(_fleet(fleet_file)), out)
    _finish(texts, fleet_file, out, diff, force, f"try: haproxy -c -f {out / 'haproxy.cfg'}")


@render.command()
@fleet_option
@click.option("--out", type=FOLDER, help="Folder for one file, NAME.env, each.")
@click.argument("name", required=False)
@_how
def env(fleet_file: Path | None, out: Path | None, name: str | None, diff: bool, force: bool) -> None:
    """Print the environment that each Ollama is to be started with, or that of instance NAME.

    With --out, each is a file as systemd's EnvironmentFile= and shells read it.
    """
    fleet = _fleet(fleet_file)
    chosen = [one for one in fleet.instances if name in (None, one.name)]
    if not chosen:
        raise click.ClickException(
            f"there is no instance {name}; there are {', '.join(one.name for one in fleet.instances)}"
        )
    local = {one.name: one for one in _named(here(fleet))}
    texts = _made(lambda: {f"{one.name}.env": environment_file(local.get(one.name, one)) for one in chosen})
    if out is None:
        click.echo("\n".join(texts.values()), nl=False)
    else:
        _finish(texts, fleet_file, out, diff, force)


@render.command()
@fleet_option
@click.option(
    "--out",
    type=FOLDER,
    default=Path("/etc/systemd/system"),
    show_default=True,
    help="Folder for the units.",
)
@_how
def systemd(fleet_file: Path | None, out: Path, diff: bool, force: bool) -> None:
    """Write a unit for each Ollama of this host, one for the agent, and a drop-in for HAProxy's."""
    fleet = _fleet(fleet_file)
    programs = Programs(
        ollama=shutil.which("ollama") or "/usr/local/bin/ollama",
        pointsman=str(Path(sys.executable).parent / "pointsman"),
        fleet_file=str(find(fleet_file).absolute()),
    )
    local = _local(fleet)
    texts = _made(lambda: units(fleet, local, programs))
    try:
        keeps_map = fleet.haproxy.files is not None
        then = installed.steps(texts, out, programs.fleet_file, fleet.haproxy.files or FILES, keeps_map)
    except OSError as error:
        raise click.ClickException(f"cannot read: {error}") from error
    if not diff:
        _warn_of_access(programs)
    _finish(texts, fleet_file, out, diff, force, "\n  ".join(["next, as root:", *then]))


def _warn_of_access(programs: Programs) -> None:
    """Say what the agent's unit would not reach."""
    needed = {
        programs.fleet_file: access.READ,
        programs.pointsman: access.READ | access.RUN,
        sys.executable: access.RUN,
        str(Path(spoe_agent.__file__).parent): access.READ | access.RUN,
    }
    agent = access.user(AGENT)
    for path, bits in needed.items():
        why = access.hindrance(Path(path), bits, agent)
        if why:
            click.echo(f"warning: pointsman.service could not start: {why}", err=True)


@render.command()
@fleet_option
@click.option("--out", type=FOLDER, default=Path(), help="Folder for compose.yaml, and haproxy/ beside it.")
@_how
def compose(fleet_file: Path | None, out: Path, diff: bool, force: bool) -> None:
    """Write a compose file for this host: each of its Ollamas, the agent, HAProxy and its files."""
    fleet = _fleet(fleet_file)
    file = find(fleet_file).absolute()
    is_near = file.is_relative_to(out.absolute().parent)
    folders = Folders(f"./{os.path.relpath(file, out)}" if is_near else str(file))
    local = _local(fleet)
    texts = _made(lambda: {"compose.yaml": compose_file(fleet, local, folders)})
    for name, text in of_haproxy.due(of_haproxy.haproxy_files(fleet), out / "haproxy").items():
        texts[f"haproxy/{name}"] = text
    _finish(texts, fleet_file, out, diff, force, f"next: docker compose -f {out / 'compose.yaml'} up -d")


def _fleet(fleet_file: Path | None) -> Fleet:
    try:
        return load(find(fleet_file))
    except FleetError as error:
        raise click.ClickException(str(error)) from error


def _local(fleet: Fleet) -> list[Instance]:
    """Return the instances of this host, their GPUs named by UUID; say which are others'."""
    local = here(fleet)
    others = ", ".join(f"{one.name} ({one.url})" for one in fleet.instances if one not in local)
    if others:
        click.echo(f"not of this host, left to who starts them: {others}", err=True)
    return _named(local)


def _named(local: Sequence[Instance]) -> list[Instance]:
    """Return instances with UUIDs where this host's GPUs tell them; they are not asked where nothing is to be told."""
    with quiet():
        return by_uuid(local, read_here() if any(one.gpus for one in local) else ())


def _made(make: Callable[[], dict[str, str]]) -> dict[str, str]:
    try:
        return make()
    except (UnnamedGpu, NotInContainers) as error:
        raise click.ClickException(str(error)) from error


def _finish(texts: dict[str, str], fleet_file: Path | None, out: Path, diff: bool, force: bool, then: str = "") -> None:
    """Show or write the files."""
    source = find(fleet_file)
    try:
        if diff:
            click.echo(written.differences(texts, out) or f"{out} is as it would be written\n", nl=False)
            return
        other = written.another(source, out)
        if other and not force:
            hint = "take another folder (--out); or replace them: --force"
            raise click.ClickException(f"nothing was written: {out} has files of another fleet file, {other}; {hint}")
        # The agent writes into the maps, and `pointsman key` does.
        foreign = [name for name in written.edited(texts, out) if Path(name).name not in of_haproxy.MAPS]
        if foreign and not force:
            hint = "what would change: --diff; overwrite it: --force"
            raise click.ClickException(f"edited by hand, so nothing was written: {_paths(foreign, out)}; {hint}")
        written.write(texts, out, source)
    except OSError as error:
        raise click.ClickException(f"cannot write: {error}") from error
    click.echo("; ".join(part for part in (f"{len(texts)} files written to {out}", then) if part))


def _paths(names: Sequence[str], out: Path) -> str:
    return ", ".join(str(out / name) for name in names)
