"""`pointsman status`, `drain` and `ready`: they ask the running agent. Only options and output live here."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from io import TextIOWrapper
from pathlib import Path
from typing import Any

import aiohttp
import click
from rich.console import Console

from spoe_agent.admin.table import tables
from spoe_agent.fleet import FleetError, Listen, admin_address, find
from spoe_agent.fleet.option import fleet_option
from spoe_agent.instances.http import said
from spoe_agent.keys.operators import headers

ANSWER_DEADLINE_S = 5.0
"""An agent tells HAProxy what was done by hand, or gives that up, within two seconds; all else is answered at once."""
LONG_DEADLINES_S = {"/reload": 15.0, "/reload/undo": 15.0, "/restart": 90.0}
"""Every Ollama that is new is read first."""
WIDE = 1000
"""Columns of a file or a pipe."""


@click.command()
@fleet_option
@click.option("--json", "as_json", is_flag=True, help="Print the agent's answer as it is.")
def status(fleet_file: Path | None, as_json: bool) -> None:
    """Show what the running agent knows: instances, limits, held requests. `pointsman top` goes on showing it."""
    found = asyncio.run(ask(admin(fleet_file), "GET", "/status"))
    if as_json:
        click.echo(json.dumps(found, indent=2))
    else:
        console().print(tables(found))


@click.command()
@fleet_option
@click.argument("name")
def drain(fleet_file: Path | None, name: str) -> None:
    """Give instance NAME nothing new; what runs there ends by itself."""
    answer = asyncio.run(ask(admin(fleet_file), "POST", f"/instances/{name}/drain"))
    click.echo(f"{name} is {answer['health']}; pointsman ready {name} lets it serve again")
    _say(answer)


@click.command()
@fleet_option
@click.argument("name")
def ready(fleet_file: Path | None, name: str) -> None:
    """Let instance NAME serve again."""
    answer = asyncio.run(ask(admin(fleet_file), "POST", f"/instances/{name}/ready"))
    click.echo(f"{name} is {answer['health']}")
    _say(answer)


@click.command()
@fleet_option
def reload(fleet_file: Path | None) -> None:
    """Have the running agent read the fleet file anew. HAProxy is not told: `pointsman apply` does both."""
    answer = asyncio.run(ask(admin(fleet_file), "POST", "/reload"))
    click.echo(reloaded(answer))


def reloaded(answer: dict[str, Any]) -> str:
    """Return what a reload changed, in words."""
    said = f"in force: {', '.join(answer['changed'])}" if answer["changed"] else "in force already: nothing changed"
    if answer["needs_restart"]:
        said += f"\n{', '.join(answer['needs_restart'])}: as before until the agent is restarted"
    return said


def _say(answer: dict[str, Any]) -> None:
    """Print what is to be known beside that it is done."""
    for line in answer["said"]:
        click.echo(line)


def console() -> Console:
    """Return a console that shows what the terminal's encoding lacks as an escape, and breaks lines for a terminal
    only.
    """
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    return Console(width=None if sys.stdout.isatty() or "COLUMNS" in os.environ else WIDE)


def admin(fleet_file: Path | None) -> Listen:
    """Return where the agent is asked; an edit that broke the file keeps nobody from draining an instance."""
    try:
        file = find(fleet_file)
        where, problems = admin_address(file)
    except FleetError as error:
        raise click.ClickException(str(error)) from error
    if problems:
        click.echo(
            f"{file} cannot be used as it is (pointsman check says why); the agent is asked at {where}", err=True
        )
    return where


async def ask(where: Listen, method: str, path: str, body: object = None) -> dict[str, Any]:
    """Ask the agent. Raises ClickException when it is not there, does not answer or refuses."""
    deadline_s = LONG_DEADLINES_S.get(path.partition("?")[0])
    if deadline_s is not None:
        # Whether it answers at all is known soon.
        await ask(where, "GET", "/status")
    timeout = aiohttp.ClientTimeout(total=deadline_s or ANSWER_DEADLINE_S)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.request(method, f"http://{where}{path}", json=body, headers=headers()) as answer,
        ):
            found: dict[str, Any] = await answer.json()
    except TimeoutError:
        hint = "it hangs or is stopped, and HAProxy goes on without it; its log may say why, a new start helps"
        why = f"does not answer within {timeout.total:.0f} s although it is there: {hint}"
        raise click.ClickException(f"the agent at {where} {why}") from None
    except (OSError, ValueError, aiohttp.ClientError) as error:
        hint = (
            "does it run with this fleet file (`pointsman up`, `pointsman serve`, the unit pointsman)? If "
            "listeners.admin was edited, it is where it was: start `pointsman up` anew, or restart it by SIGUSR2 "
            "(under systemd: kill -USR2 $(systemctl show -P MainPID pointsman))"
        )
        raise click.ClickException(f"no agent at {where}: {said(error)}; {hint}") from error
    if answer.status != 200:
        raise click.ClickException(str(found.get("error", f"the agent answered {answer.status}")))
    return found
