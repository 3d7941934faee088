"""The command `pointsman`. Lives here: commands and their options, logging set-up. Must not live here: what they do."""

from __future__ import annotations

import asyncio
import logging
import sys
from pathlib import Path

import click
import structlog
import uvloop

from spoe_agent import __version__
from spoe_agent.demo.command import demo
from spoe_agent.fleet import FleetError, find, load
from spoe_agent.fleet.command import check, schema
from spoe_agent.fleet.render import haproxy_files, write
from spoe_agent.serve import serve as run_agent
from spoe_agent.simulator.command import simulate

_fleet_option = click.option(
    "--fleet",
    "fleet_file",
    type=click.Path(path_type=Path),
    help="Fleet file; else ./fleet.yaml, else /etc/pointsman/fleet.yaml.",
)


@click.group()
@click.version_option(__version__, prog_name="pointsman")
def main() -> None:
    """Routes Ollama requests to the instance that should serve them."""


@main.command()
@_fleet_option
@click.option(
    "--log-level", type=click.Choice(["debug", "info", "warning", "error"]), default="info", show_default=True
)
def serve(fleet_file: Path | None, log_level: str) -> None:
    """Run the agent that HAProxy asks."""
    set_up_logging(log_level)
    try:
        fleet = load(find(fleet_file))
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(run_agent(fleet))
    except FleetError as error:
        raise click.ClickException(str(error)) from error
    except OSError as error:
        raise click.ClickException(f"cannot listen: {error}; is another agent running?") from error


@main.group()
def render() -> None:
    """Write other programs' files from the fleet file."""


@render.command("haproxy")
@_fleet_option
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("haproxy"),
    show_default=True,
    help="Folder for haproxy.cfg and the files beside it.",
)
def render_haproxy(fleet_file: Path | None, out: Path) -> None:
    """Write haproxy.cfg, spoe-pointsman.conf, pins, origins and error bodies."""
    try:
        texts = haproxy_files(load(find(fleet_file)))
        write(texts, out)
    except FleetError as error:
        raise click.ClickException(str(error)) from error
    except OSError as error:
        raise click.ClickException(f"cannot write: {error}") from error
    click.echo(f"{len(texts)} files written to {out}; try: haproxy -c -f {out / 'haproxy.cfg'}")


def set_up_logging(level: str) -> None:
    """Log to standard error: one JSON object per line, or colours for people on a terminal."""
    terminal = sys.stderr.isatty()
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *([] if terminal else [structlog.processors.dict_tracebacks]),
            structlog.dev.ConsoleRenderer() if terminal else structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )


for command in (check, schema, simulate, demo):
    main.add_command(command)
