"""`pointsman restart`: the agent, or Ollamas one after the other. Only options and output live here."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import aiohttp
import click

from spoe_agent.admin.command import ask
from spoe_agent.admin.rolling import NotRestarted, Rolling
from spoe_agent.fleet import Fleet, FleetError, find, load
from spoe_agent.fleet.option import fleet_option


@click.command()
@fleet_option
@click.argument("names", nargs=-1, metavar="[NAME]...")
def restart(fleet_file: Path | None, names: tuple[str, ...]) -> None:
    """Put a new agent in the place of the running one; or, with NAMEs, start those Ollamas of this host anew.

    A new agent, for another version of Pointsman or other listeners, takes over all sockets, held requests and what is
    in flight: no request is decided without an agent. When it does not come up, the old one goes on.

    An instance is drained first, then restarted by systemd when its unit is ollama-NAME.service, else by whoever
    starts it again when it ends (`pointsman up`, compose). It loads what it had, and serves again, before the next one.
    """
    try:
        fleet = load(find(fleet_file))
        asyncio.run(_instances(fleet, names) if names else _agent(fleet))
    except (FleetError, NotRestarted) as error:
        raise click.ClickException(str(error)) from error


async def _agent(fleet: Fleet) -> None:
    answer = await ask(fleet.listeners.admin, "POST", "/restart")
    click.echo(f"a new agent has taken over, process {answer['pid']}")


async def _instances(fleet: Fleet, names: tuple[str, ...]) -> None:
    by_name = {one.name: one for one in fleet.instances}
    unknown = [name for name in names if name not in by_name]
    if unknown:
        raise NotRestarted(f"there is no instance {', '.join(unknown)}; instances are {', '.join(by_name)}")

    async def admin(method: str, path: str, body: object = None) -> dict[str, Any]:
        return await ask(fleet.listeners.admin, method, path, body)

    async with aiohttp.ClientSession() as session:
        rolling = Rolling(admin, session, click.echo)
        for name in names:
            await rolling.restart(by_name[name])
