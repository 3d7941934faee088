"""`pointsman top`: options, the terminal, keys."""

from __future__ import annotations

import asyncio
import sys
import termios
import tty
from collections.abc import Iterator
from contextlib import aclosing, contextmanager, suppress
from datetime import datetime
from pathlib import Path

import click
from rich.console import Console, Group
from rich.live import Live

from spoe_agent.admin.command import admin, ask, console
from spoe_agent.fleet import Listen
from spoe_agent.fleet.option import fleet_option
from spoe_agent.top.plain import Plain
from spoe_agent.top.scenes import scenes
from spoe_agent.top.screen import screen, without


@click.command()
@fleet_option
def top(fleet_file: Path | None) -> None:
    """Watch the fleet in this terminal, each second; q ends it.

    Into a pipe or a file, and in a terminal that cannot be drawn on, what is new is printed, a line for each thing.
    """
    where, terminal = admin(fleet_file), console()
    # Said in full, and at once, when there is no agent.
    asyncio.run(ask(where, "GET", "/status"))
    with suppress(KeyboardInterrupt):
        if terminal.is_terminal and not terminal.is_dumb_terminal and terminal.encoding.startswith("utf"):
            asyncio.run(_draw(where, terminal))
        else:
            asyncio.run(_print(where))


async def _draw(where: Listen, terminal: Console) -> None:
    ends = asyncio.Event()
    with _keys(ends), Live(console=terminal, auto_refresh=False, screen=True) as live:
        drawing = asyncio.ensure_future(_follow(where, live, terminal))
        ending = asyncio.ensure_future(ends.wait())
        await asyncio.wait((drawing, ending), return_when=asyncio.FIRST_COMPLETED)
        for task in (drawing, ending):
            task.cancel()
        with suppress(asyncio.CancelledError):
            await drawing


async def _follow(where: Listen, live: Live, terminal: Console) -> None:
    last, lost = None, ""
    async with aclosing(scenes(where)) as found:
        async for scene in found:
            lost = scene if isinstance(scene, str) else ""
            last = scene if isinstance(scene, dict) else last
            lines = [without(lost)] if last is None else screen(last, lost, terminal.width, terminal.height)
            live.update(Group(*lines), refresh=True)


async def _print(where: Listen) -> None:
    plain = Plain()
    async with aclosing(scenes(where)) as found:
        async for scene in found:
            for line in plain.lines(scene):
                click.echo(f"{datetime.now().astimezone():%H:%M:%S} {line}")
            sys.stdout.flush()


@contextmanager
def _keys(ends: asyncio.Event) -> Iterator[None]:
    """Have q end it. Keys come one by one, and are not shown."""
    if not sys.stdin.isatty():
        yield
        return
    number, loop = sys.stdin.fileno(), asyncio.get_running_loop()
    before = termios.tcgetattr(number)

    def pressed() -> None:
        if sys.stdin.read(1) in ("q", "Q"):
            ends.set()

    tty.setcbreak(number)
    loop.add_reader(number, pressed)
    try:
        yield
    finally:
        loop.remove_reader(number)
        termios.tcsetattr(number, termios.TCSADRAIN, before)
