"""The command `pointsman`: which commands there are, and where each is found.

That is ROOM/command.py, or ROOM/NAME_command.py of a further one; only what belongs to no room stands beside this file.
A command's module is only loaded when it is run, so that the agent's process does not carry the demo's and the
simulator's libraries.
"""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import click

from spoe_agent import __version__

COMMANDS = {
    "addon": "spoe_agent.mitmproxy.command:addon",
    "apply": "spoe_agent.admin.apply_command:apply",
    "caller": "spoe_agent.requests.caller_command:caller",
    "check": "spoe_agent.surroundings.command:check",
    "demo": "spoe_agent.demo.command:demo",
    "doctor": "spoe_agent.surroundings.doctor_command:doctor",
    "drain": "spoe_agent.admin.command:drain",
    "explain": "spoe_agent.admin.explain_command:explain",
    "init": "spoe_agent.init.command:init",
    "key": "spoe_agent.admin.key_command:key",
    "plan": "spoe_agent.plan.command:plan",
    "ready": "spoe_agent.admin.command:ready",
    "reload": "spoe_agent.admin.command:reload",
    "render": "spoe_agent.render.command:render",
    "replay": "spoe_agent.replay.command:replay",
    "restart": "spoe_agent.admin.restart_command:restart",
    "schema": "spoe_agent.fleet.command:schema",
    "serve": "spoe_agent.serve_command:serve",
    "simulate": "spoe_agent.simulator.command:simulate",
    "status": "spoe_agent.admin.command:status",
    "telemetry": "spoe_agent.gpus.command:telemetry",
    "top": "spoe_agent.top.command:top",
    "up": "spoe_agent.up.command:up",
    "warm": "spoe_agent.warm.command:warm",
}


class LazyGroup(click.Group):
    """A group that finds its commands by name, as click's documentation shows it ("Lazily loading subcommands")."""

    def __init__(self, *args: Any, commands_at: dict[str, str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._commands_at = commands_at

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run; a fault of ours is told without the values that Python would print."""
        try:
            return super().main(*args, **kwargs)
        except Exception as error:
            from spoe_agent.faults import told

            click.echo(told(error), nl=False, err=True)
            sys.exit(1)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return all names."""
        return sorted(self._commands_at)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Load one command."""
        if cmd_name not in self._commands_at:
            return None
        # Not above: it takes twice the time of all else that `--version` needs.
        from spoe_agent.faults import log_of_commands

        log_of_commands()
        module, _, name = self._commands_at[cmd_name].partition(":")
        command: click.Command = getattr(import_module(module), name)
        return command


def _build() -> str:
    """Return what `--version` says of a build whose decision is compiled (hatch_build.py)."""
    return " (compiled)" if any((Path(__file__).parent / "routing").glob("choose.*.so")) else ""


@click.group(cls=LazyGroup, commands_at=COMMANDS)
@click.version_option(__version__, prog_name="pointsman", message=f"%(prog)s, version %(version)s{_build()}")
def main() -> None:
    """Routes Ollama requests to the instance that should serve them."""
