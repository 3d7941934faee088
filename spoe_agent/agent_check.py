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
    """Return the full state of a server."""
    return f"{'up' if is_up else 'down'} {'drain' if is_drained else 'ready'} 100% maxconn:{limit}"


class CheckServer:
    """Listens for HAProxy's checks."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._server: asyncio.Server

    async def listen(self, sock: socket.socket) -> None:
        """Answer on a bound socket from now on."""
        self._server = await asyncio.start_server(self._serve, sock=sock, limit=MAX_LINE_BYTES, backlog=BACKLOG)

    def close(self) -> None:
        """Stop listening."""
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(READ_DEADLINE_S):
                asked = await reader.readline()
                told = self._answer(asked.decode("utf-8", "replace").strip())
                writer.write(f"{told or '# no such instance'}\n".encode())
                await writer.drain()
        except (TimeoutError, ValueError, OSError):
            # Nobody of ours: HAProxy sends one short line at once.
            return
        finally:
            writer.close()


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
