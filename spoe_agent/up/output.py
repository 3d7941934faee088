"""One terminal for all: lines of each process behind its name, logs as people read them."""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from io import FileIO, RawIOBase
from os import environ
from queue import Full, Queue
from threading import Thread
from typing import Any, Self

import click

COLORS = ("cyan", "green", "yellow", "blue", "magenta", "bright_cyan", "bright_green", "bright_yellow")
LINE_BYTES = 1 << 16
"""Longer lines are shown in pieces."""

QUEUE_LINES = 1000
"""What waits for a terminal that takes nothing (Ctrl-S, `| less`); from then on lines are left out."""

END_S = 2.0
"""At the end, a terminal has so long to take what waits."""

_NOISE = re.compile(
    # Before HAProxy is there, and when it has ended: `up` says that itself.
    r"map of models cannot be kept current .*\[Errno (2|111)\]|"
    r"Proxy \S+ (stopped|started)"  # HAProxy, of each of its sections
    r"|^\[\w+\] +\(\d+\) : ((Backup )?Server \S+ is |backend \S+ has no server)"  # its log says the same once more
    r"|^\[GIN-debug\]|^ - using (env|code):"  # Ollama's web server, of each of its paths
    r'|^\[GIN\] .* 200 .* (GET|HEAD) +"/(api/(ps|tags|version))?"'  # our own polls and HAProxy's
)

_OWN_KEYS = ("event", "level", "timestamp")


class Output:
    """Prints lines; coloured on a terminal only, unless NO_COLOR is set. Nobody waits for the terminal: a thread does.

    `stream`: without a buffer of Python's own, whose lock would keep a process from ending while the thread has it.
    """

    def __init__(self, names: list[str], stream: RawIOBase | None = None) -> None:
        self._stream = stream or FileIO(sys.stdout.fileno(), "w", closefd=False)
        self._lines: Queue[str | None] = Queue(QUEUE_LINES)
        self._left_out = 0
        self._writer = Thread(target=self._write, name="terminal", daemon=True)
        self._writer.start()
        self._width = max(map(len, names))
        self._colors = {name: COLORS[number % len(COLORS)] for number, name in enumerate(names)}
        self._is_coloured = self._stream.isatty() and not environ.get("NO_COLOR")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Wait until all is printed, not for long."""
        until_s = time.monotonic() + END_S
        with suppress(Full):
            self._lines.put(None, timeout=END_S)
        self._writer.join(max(0.0, until_s - time.monotonic()))

    def say(self, name: str, line: str) -> None:
        """Print one line of a process, or of our own. Whoever closed the terminal misses it."""
        head = f"{name:<{self._width}} |"
        if self._is_coloured:
            head = click.style(head, fg=self._colors.get(name))
        try:
            if self._left_out:
                self._lines.put_nowait(f"... {self._left_out} lines are left out here: this terminal took none")
                self._left_out = 0
            self._lines.put_nowait(f"{head} {line}")
        except Full:
            self._left_out += 1

    def _write(self) -> None:
        """Write lines until the end. Whoever closed the terminal does not hear of it."""
        while (line := self._lines.get()) is not None:
            data = f"{line}\n".encode("utf-8", "replace")
            with suppress(OSError, ValueError):
                while data:
                    # None: somebody has made it one that does not wait (O_NONBLOCK).
                    data = data[self._stream.write(data) or 0 :]
                    if data:
                        time.sleep(0.01)  # this thread has nothing else to do

    async def follow(self, name: str, source: asyncio.StreamReader) -> None:
        """Print a process's lines until it, and whoever it started, has ended."""
        while True:
            try:
                raw = await source.readuntil(b"\n")
            except asyncio.IncompleteReadError as error:
                raw = error.partial
            except asyncio.LimitOverrunError as error:
                raw = await source.readexactly(error.consumed)
            if not raw:
                return
            line = readable(raw.decode("utf-8", "replace").rstrip("\n"))
            if line and not is_noise(line):
                self.say(name, line)


def is_noise(line: str) -> bool:
    """Tell whether a line says nothing but that all goes on."""
    return _NOISE.search(line) is not None


def readable(line: str) -> str:
    """Return a line of JSON in words: the agent's log, HAProxy's line for a request. Others stay as they are, without
    what would move the cursor or colour the terminal.
    """
    found: Any = None
    if line.startswith("{"):
        with suppress(ValueError):
            found = json.loads(line)
    if isinstance(found, dict) and "event" in found:
        return _event(found)
    if isinstance(found, dict) and "hold_ms" in found:
        return _request(found)
    return "".join(char if char.isprintable() else " " for char in line).rstrip()


def _event(found: Mapping[str, Any]) -> str:
    level = str(found.get("level", ""))
    rest = (f"{key}={_value(value)}" for key, value in found.items() if key not in _OWN_KEYS)
    return " ".join([*([] if level == "info" else [f"{level}:"]), str(found["event"]), *rest])


def _value(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return ascii(text) if " " in text or not text.isprintable() or not text else text


def _request(found: Mapping[str, Any]) -> str:
    said = [str(found.get(key, "-")) for key in ("method", "path", "model", "server", "reason", "status")]
    held = "" if str(found["hold_ms"]) == "0" else f" held {found['hold_ms']} ms,"
    method, path, model, server, reason, status = (ascii(one)[1:-1] for one in said)
    return f"{method} {path} {model} -> {server} ({reason}) {status},{held} {found.get('active_ms')} ms"
