"""The command `serve`: options, logging, and how errors end it."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
from pathlib import Path

import click
import structlog
import uvloop

from spoe_agent import faults
from spoe_agent.fleet import FleetError, find
from spoe_agent.fleet.file import EditedFile
from spoe_agent.fleet.option import fleet_option
from spoe_agent.fleet.schema_haproxy import HAProxySettings
from spoe_agent.serve import serve as run_agent

LEVELS = ["debug", "info", "warning", "error"]


@click.command()
@fleet_option
@click.option(
    "--state",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File for what was learned (times of loads and requests) and for drains by hand; "
    "else $STATE_DIRECTORY/learned.json, else none.",
)
@click.option(
    "--haproxy-socket",
    type=click.Path(path_type=Path),
    help="Admin socket of a HAProxy that is this agent's alone, in place of the fleet file's section `haproxy`: "
    "nothing that is named there is touched. So `pointsman up` starts its agent.",
)
@click.option("--log-level", type=click.Choice(LEVELS), default="info", show_default=True)
def serve(fleet_file: Path | None, state: Path | None, haproxy_socket: Path | None, log_level: str) -> None:
    """Run the agent that HAProxy asks."""
    set_up_logging(log_level)
    try:
        haproxy = None if haproxy_socket is None else HAProxySettings(runtime=(str(haproxy_socket.absolute()),))
        file = EditedFile(find(fleet_file), haproxy)
        state = _with_folder(state or _state_of_service())
        with asyncio.Runner(loop_factory=new_loop) as runner:
            runner.run(run_agent(file, state))
    except FleetError as error:
        raise click.ClickException(str(error)) from error
    except OSError as error:
        raise click.ClickException(f"cannot listen: {error}") from error


def new_loop() -> asyncio.AbstractEventLoop:
    """Return a loop that logs what only it hears of."""
    loop = uvloop.new_event_loop()
    loop.set_exception_handler(faults.on_loop)
    return loop


def _state_of_service() -> Path | None:
    """Return the file in the folder that systemd gives a unit with StateDirectory=."""
    folder = os.environ.get("STATE_DIRECTORY")
    return Path(folder) / "learned.json" if folder else None


def _with_folder(state: Path | None) -> Path | None:
    try:
        if state is not None:
            state.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise click.ClickException(f"no folder for the state file: {error}") from error
    return state


def set_up_logging(level: str) -> None:
    """Log to standard error: one JSON object per line, or colours for people on a terminal. All faults go there."""
    terminal = sys.stderr.isatty()
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            faults.in_event,
            *((_readable, faults.for_people(sys.stderr)) if terminal else (structlog.processors.JSONRenderer(),)),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        # One write a line: in a hand-over two agents share the log.
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    faults.hear_all()


def _readable(_: object, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Show fields that hold more than one value as JSON: the terminal would get Python's own notation."""
    return {name: json.dumps(value) if isinstance(value, dict | list) else value for name, value in event.items()}
