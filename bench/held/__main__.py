"""The command. Only options and their order live here."""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

import click
import uvloop
from rich.console import Console

from bench.held import crowd, scenes
from bench.held.report import Results, show
from spoe_agent.rig.haproxy import find_haproxy, version
from spoe_agent.rig.process import RigError

LONG, SHORT = "10m", "6s"
"""Hold times: nobody is put forward for his age; those who wait long are."""


async def run(binary: str, folder: Path, held: int, probes: int) -> Results:
    """Play all scenes. Raises RigError when the stack does not start or does not do what it should."""
    (folder / "long").mkdir()
    async with crowd.stack(binary, folder / "long", LONG) as own:
        await crowd.warm(own)
        held_at_once = await scenes.held_at_once(own, held, probes)
        share = await scenes.equal_share(own, held)
        instant = await scenes.one_instant(own, held)
    (folder / "short").mkdir()
    async with crowd.stack(binary, folder / "short", SHORT) as own:
        await crowd.warm(own)
        patience = await scenes.no_starvation(own)
    return Results(version(binary), held_at_once, share, patience, instant)


@click.command()
@click.option("--haproxy", "binary", help="HAProxy's program; else $HAPROXY, else the installed one.")
@click.option("--held", type=click.IntRange(22), default=2000, show_default=True, help="Requests held at once.")
@click.option("--probes", type=click.IntRange(2), default=1000, show_default=True, help="Of the fast path, per phase.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of tables.")
def main(binary: str | None, held: int, probes: int, as_json: bool) -> None:
    """Hold thousands of requests through real HAProxy, and print order, shares, memory and the fast path."""
    try:
        with (
            tempfile.TemporaryDirectory(prefix="pointsman-held-") as folder,
            asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
        ):
            results = runner.run(run(binary or find_haproxy(), Path(folder), held, probes))
    except RigError as error:
        raise click.ClickException(str(error)) from error
    if as_json:
        click.echo(json.dumps(asdict(results)))
    else:
        show(results, Console(width=None if sys.stdout.isatty() else 120))


if __name__ == "__main__":
    main()
