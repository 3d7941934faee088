"""HAProxy's agent-check: answers for each instance its state and its limit, one line per connection.

    gpu0\\n  ->  up ready 100% maxconn:8\\n         (configuration.txt 5.2, agent-check)

Each answer is the full state, because HAProxy keeps whatever an answer leaves out. Must not live here: limits
(telemetry.limits), health.
"""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import cast

import structlog

from spoe_agent.fleet import Listen

log = structlog.get_logger()

READ_DEADLINE_S = 2.0
MAX_LINE_BYTES = 256
BACKLOG = 1024

BEAT_S = 0.25
"""Below HAProxy's `agent-inter`, so that the guard knows what HAProxy was told; well below check_guard.HUNG_S."""

Answer = Callable[[str], str | None]
"""The line for an instance, without its end; None: there is no such instance."""


def line(is_up: bool, is_drained: bool, limit: int) -> str:
    """Return the full state of a server. Nothing but 100 % is ever its weight; HAProxy 2.6 writes two lines into its
    log whenever it is told the weight of a server that is drained.
    """
    return f"{'up' if is_up else 'down'} {'drain' if is_drained else 'ready 100%'} maxconn:{limit}"


class CheckServer:
    """Listens for HAProxy's checks."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._server: asyncio.Server

    async def listen(self, sock: socket.socket) -> None:
        """Answer on a bound socket from now on."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Check(self._answer), sock=sock, backlog=BACKLOG)

    def close(self) -> None:
        """Stop listening."""
        self._server.close()


class _Check(asyncio.Protocol):
    """One connection: a line, an answer, the end. No task and no streams: there are two a second for each server."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._asked = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none, but acts like one
        self._deadline = asyncio.get_running_loop().call_later(READ_DEADLINE_S, transport.close)

    def data_received(self, data: bytes) -> None:
        self._asked += data
        if b"\n" in self._asked:
            self._tell()
        elif len(self._asked) > MAX_LINE_BYTES:
            self._transport.close()  # nobody of ours: HAProxy sends one short line at once

    def eof_received(self) -> None:
        self._tell()

    def _tell(self) -> None:
        told = self._answer(self._asked.partition(b"\n")[0].decode("utf-8", "replace").strip())
        self._transport.write(f"{told or '# no such instance'}\n".encode())
        self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._deadline.cancel()


class Guard:
    """The agent's side of check_guard: a child that takes over when the agent is gone. `lines` are its answers."""

    def __init__(self, sock: socket.socket, lines: Callable[[], Mapping[str, str]]) -> None:
        self._sock = sock
        self._lines = lines

    async def run(self) -> None:
        """Start the child, and beat until cancelled."""
        command = (sys.executable, "-m", "spoe_agent.check_guard", str(self._sock.fileno()))
        child = await asyncio.create_subprocess_exec(
            *command, stdin=asyncio.subprocess.PIPE, pass_fds=(self._sock.fileno(),)
        )
        stdin = child.stdin
        if stdin is None:
            return
        try:
            told: Mapping[str, str] = {}
            while True:
                lines = self._lines()
                stdin.write(json.dumps(dict(lines)).encode() + b"\n" if lines != told else b"\n")
                told = lines
                await stdin.drain()
                await asyncio.sleep(BEAT_S)
        except (BrokenPipeError, ConnectionResetError):
            log.warning("the guard of the limits has ended; they would stay as they are if the agent died")
        finally:
            with suppress(OSError):
                stdin.close()


def bound(listen: Listen) -> socket.socket:
    """Return a socket bound to an address, which a successor may bind too. Raises OSError when it is taken."""
    family = socket.AF_INET6 if ":" in listen.host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        # The guard of an agent that has just ended may still hold the port.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind((listen.host, listen.port))
    except OSError as error:
        sock.close()
        raise OSError(error.errno, f"{error.strerror}: TCP port {listen.port} of {listen.host}") from error
    return sock
