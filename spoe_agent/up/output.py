"""One terminal for all: lines of each process behind its name, logs as people read them."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections.abc import Mapping
from contextlib import suppress
from os import environ
from typing import Any, TextIO

import click

COLORS = ("cyan", "green", "yellow", "blue", "magenta", "bright_cyan", "bright_green", "bright_yellow")
LINE_BYTES = 1 << 16
"""Longer lines are shown in pieces."""

_NOISE = re.compile(
    r"Proxy \S+ (stopped|started)"  # HAProxy, of each of its sections
    r"|^\[GIN-debug\]|^ - using (env|code):"  # Ollama's web server, of each of its paths
    r'|^\[GIN\] .* 200 .* (GET|HEAD) +"/(api/(ps|tags|version))?"'  # our own polls and HAProxy's
)

_OWN_KEYS = ("event", "level", "timestamp")


class Output:
    """Prints lines; coloured on a terminal only, unless NO_COLOR is set."""

    def __init__(self, names: list[str], stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stdout
        self._width = max(map(len, names))
        self._colors = {name: COLORS[number % len(COLORS)] for number, name in enumerate(names)}
        self._is_coloured = self._stream.isatty() and not environ.get("NO_COLOR")

    def say(self, name: str, line: str) -> None:
        """Print one line of a process, or of our own. Whoever closed the terminal misses it."""
        head = f"{name:<{self._width}} |"
        if self._is_coloured:
            head = click.style(head, fg=self._colors.get(name))
        with suppress(OSError, ValueError):
            print(head, line, file=self._stream, flush=True)

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
