"""Child processes that are always ended, and ready when they say so."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import socket
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Self

READY_DEADLINE_S = 30.0
STOP_DEADLINE_S = 10.0


class RigError(Exception):
    """A part of the rig does not start or does not become ready; the text has its last lines of output."""


PORTS = range(12_000, 32_000)
"""Below those that Linux gives to whoever connects (ip_local_port_range): one of these would be gone again."""

_given: set[int] = set()
"""Ports given out."""


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    """Return a loopback port that nobody uses now, and another one at each call, also of another process."""
    while True:
        port = random.choice(PORTS)
        if _is_free(port, kind) and _mark(port):
            return port


def free_ports(count: int) -> int:
    """Return the first of so many loopback ports in a row that nobody uses now."""
    while True:
        first = free_port()
        if all(_is_free(port, socket.SOCK_STREAM) and _mark(port) for port in range(first + 1, first + count)):
            return first


def _mark(port: int) -> bool:
    """Keep others from being given a port until this process ends; tell whether nobody was before it.

    An abstract name (unix(7)) goes with its process, however that ends.
    """
    if port in _given:
        return False
    mark = socket.socket(socket.AF_UNIX)
    try:
        mark.bind(f"\0pointsman rig port {port}")
    except OSError:
        mark.close()
        return False
    # Left open, and no object to be collected.
    mark.detach()
    _given.add(port)
    return True


def _is_free(port: int, kind: socket.SocketKind) -> bool:
    with socket.socket(socket.AF_INET, kind) as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


class Process:
    """One child, its output in a file. Leaving the context ends it, by its id and nobody else's."""

    def __init__(
        self, name: str, command: Sequence[str | Path], folder: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        """`environment`: variables beside those of this process."""
        self.name = name
        self._environment = {**os.environ, **(environment or {})}
        self.output = folder / f"{name}.log"
        self._command = [str(part) for part in command]
        self._child: asyncio.subprocess.Process

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Start, or start again. Raises RigError when the program is missing."""
        try:
            with self.output.open("ab") as output:
                self._child = await asyncio.create_subprocess_exec(
                    *self._command,
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    env=self._environment,
                )
        except OSError as error:
            # uvloop's error does not name the program.
            raise RigError(f"cannot start {self.name}: {self._command[0]}: {error.strerror}") from error

    @property
    def pid(self) -> int:
        """The child's process id."""
        return self._child.pid

    @property
    def is_running(self) -> bool:
        """It has not ended."""
        return self._child.returncode is None

    def signal(self, number: signal.Signals) -> None:
        """Send the child a signal; one that has ended already gets none."""
        if self._child.returncode is None:
            self._child.send_signal(number)

    async def stop(self) -> None:
        """End the child: politely, then not."""
        self.signal(signal.SIGCONT)
        self.signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(STOP_DEADLINE_S):
                await self._child.wait()
        except TimeoutError:
            self.signal(signal.SIGKILL)
            await self._child.wait()

    async def wait(self) -> int:
        """Wait for the child's end and return its status."""
        return await self._child.wait()

    async def ready(self, check: Callable[[], Awaitable[bool]]) -> None:
        """Wait until the check succeeds. Raises RigError when the child ends or takes too long."""
        until_s = time.monotonic() + READY_DEADLINE_S
        while not await check():
            if self._child.returncode is not None:
                raise RigError(f"{self.name} ended with status {self._child.returncode}:\n{self.tail()}")
            if time.monotonic() > until_s:
                raise RigError(f"{self.name} was not ready after {READY_DEADLINE_S:.0f} s:\n{self.tail()}")
            await asyncio.sleep(0.02)

    def tail(self) -> str:
        """Return the last lines of its output."""
        return "\n".join(self.output.read_text(errors="replace").splitlines()[-20:])


async def accepts(host: str, port: int) -> bool:
    """Tell whether somebody accepts TCP connections there."""
    try:
        _, writer = await asyncio.open_connection(host, port)
    except OSError:
        return False
    writer.close()
    return True


async def accepts_unix(path: str) -> bool:
    """Tell whether somebody accepts connections on a unix socket."""
    try:
        _, writer = await asyncio.open_unix_connection(path)
    except OSError:
        return False
    writer.close()
    return True
