"""The command `apply`: options, output and exit codes."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import click

from spoe_agent.admin.apply import NotUndone, Refused
from spoe_agent.admin.apply import apply as apply_edit
from spoe_agent.admin.command import ask
from spoe_agent.fleet import Fleet, FleetError, find
from spoe_agent.fleet.file import EditedFile
from spoe_agent.fleet.option import fleet_option


class _NotUndone(click.ClickException):
    exit_code = 3


@click.command()
@fleet_option
def apply(fleet_file: Path | None) -> None:
    """Put the edited fleet file in force, in the agent and in HAProxy, or change nothing.

    It writes HAProxy's files (haproxy.files of the fleet file), tests them, and reloads the agent and HAProxy. When one
    of that fails, or on Ctrl-C, the rest is undone: exit status 1. Status 3: not all could be undone, and it is said
    what to do.
    """
    try:
        file = EditedFile(find(fleet_file))
        asyncio.run(_applied(file))
    except asyncio.CancelledError:
        raise click.ClickException("not applied: interrupted") from None
    except (FleetError, Refused) as error:
        raise click.ClickException(f"not applied: {error}") from error
    except NotUndone as error:
        raise _NotUndone(str(error)) from error
    click.echo("applied")


async def _applied(file: EditedFile) -> None:
    """Apply, and undo it when somebody or the system ends the command."""
    loop, task = asyncio.get_running_loop(), cast(asyncio.Task[None], asyncio.current_task())

    def interrupt() -> None:
        # Once: what is undone shall not be left half undone.
        if not task.cancelling():
            task.cancel()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, interrupt)
    found = file.read().fleet
    await apply_edit(file, lambda method, path: _asked(found, method, path), click.echo)


async def _asked(fleet: Fleet | None, method: str, path: str) -> Mapping[str, Any]:
    if fleet is None:
        raise Refused("the fleet file was edited meanwhile")
    try:
        return await ask(fleet.listeners.admin, method, path)
    except click.ClickException as error:
        raise Refused(error.message) from error
