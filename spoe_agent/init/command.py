"""`pointsman init`: looks at this machine and writes a first fleet file. Only options and output live here."""

from __future__ import annotations

import asyncio
import os
import shlex
from collections.abc import Iterator
from pathlib import Path

import click

from spoe_agent.fleet import loads
from spoe_agent.fleet.option import FILE
from spoe_agent.init.draft import draft, found
from spoe_agent.init.machine import Machine, Senses, look
from spoe_agent.process.quiet import quiet


@click.command()
@click.argument("file", type=FILE, default=Path("fleet.yaml"))
@click.option("--force", is_flag=True, help="Overwrite FILE if it is there.")
def init(file: Path, force: bool) -> None:
    """Write a fleet file for this machine to FILE (fleet.yaml).

    Ollamas that run are described; where none does, there is one instance for each GPU, or one on the CPU.
    """
    write(file, force, Senses())


def write(file: Path, force: bool, senses: Senses) -> None:
    """Look at the machine and write the file. Raises ClickException when it is there already, or cannot be written."""
    if os.path.lexists(file) and not force:
        raise click.ClickException(f"{file} is there already; --force overwrites it")
    with quiet():
        machine = asyncio.run(look(senses))
    text = draft(machine, senses.is_free)
    fleet = loads(text, str(file))
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise click.ClickException(f"cannot write {file}: {error.strerror}") from error
    for line in found(machine)[1:]:
        click.echo(line)
    if not machine.gpus:
        click.echo("There is no GPU: the one instance runs on the CPU." if not machine.running else "There is no GPU.")
    names = ", ".join(f"{one.name} at {one.url}" for one in fleet.instances)
    click.echo(f"{file} written: the front on {fleet.listeners.front}; {names}")
    for line in _next(machine, shlex.quote(str(file))):
        click.echo(line)


def _next(machine: Machine, file: str) -> Iterator[str]:
    """Yield what to run now. `up` starts Ollamas, so it is nothing for those that run."""
    if machine.running:
        yield "Now, with the Ollamas that run, these; the last two run until they are stopped, each in a terminal:"
        yield f"  pointsman check --live --fleet {file} && pointsman render haproxy --fleet {file} --out haproxy"
        yield f"  pointsman serve --fleet {file}"
        yield "  haproxy -f haproxy/haproxy.cfg"
        yield "Or stop those Ollamas, and then:"
        yield f"  pointsman init --force {file} && pointsman up --fleet {file}"
        return
    programs = {"Ollama": machine.ollama, "HAProxy": machine.haproxy}
    missing = " and ".join(name for name, program in programs.items() if program is None)
    yield f"Now{missing and f' install {missing}, then'}: pointsman up --fleet {file}"
    if missing == "Ollama":
        yield f"Or, with simulated Ollamas: pointsman up --simulate --fleet {file}"
