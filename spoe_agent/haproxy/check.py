"""HAProxy's agent-check: answers for each instance its state and its limit, one line per connection.

    gpu0\n  ->  up ready 100% maxconn:8\n         (configuration.txt 5.2, agent-check)

Each answer is the full state, because HAProxy keeps whatever an answer leaves out.
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

from spoe_agent.haproxy.contract import BEAT_S, TOLD_S
from spoe_agent.haproxy.guard import END

log = structlog.get_logger()

READ_DEADLINE_S = 2.0
MAX_LINE_BYTES = 256
BACKLOG = 1024

Answer = Callable[[str], str]
"""The line for an instance, without its end."""


def line(is_up: bool, is_drained: bool, limit: int) -> str:
    """Return the full state of a server. Drained is weight 0, not `drain`: a rule of haproxy.cfg can see that, and
    HAProxy says nothing of it in its log (2.6 says of a server in drain two lines at every check).
    """
    return f"{'up' if is_up else 'down'} ready {0 if is_drained else 100}% maxconn:{limit}"


class CheckServer:
    """Listens for HAProxy's checks."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._server: asyncio.Server
        self._asked: dict[str, asyncio.Event] = {}

    async def listen(self, sock: socket.socket) -> None:
        """Answer on a bound socket from now on."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Check(self._tell), sock=sock, backlog=BACKLOG)

    async def told(self, name: str, deadline_s: float) -> bool:
        """Wait until HAProxy has asked about an instance once more; False: it did not within the deadline."""
        asked = self._asked.setdefault(name, asyncio.Event())
        try:
            async with asyncio.timeout(deadline_s):
                await asked.wait()
        except TimeoutError:
            return False
        return True

    def _tell(self, name: str) -> str:
        asked = self._asked.pop(name, None)
        if asked is not None:
            asked.set()
        return self._answer(name)

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
        self._transport.write(f"{told}\n".encode())
        self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._deadline.cancel()


_OUTLIVING: list[asyncio.subprocess.Process] = []
"""Children that go on when their agent has ended. Not held here they would be collected, and reported as forgotten."""


class Guard:
    """The agent's side of `guard`: a child that takes over when the agent is gone, on a copy of the socket that is
    given to it. `lines` are its answers.
    """

    def __init__(self, sock: socket.socket, lines: Callable[[], Mapping[str, str]]) -> None:
        self._sock = sock
        self._lines = lines
        self._changed = asyncio.Event()
        self._is_over = False

    def tell(self) -> None:
        """Pass on at once what has changed, not with the next beat."""
        self._changed.set()

    async def run(self) -> None:
        """Start the child, and beat until it is to end, or cancelled. May be run again."""
        if self._is_over:
            return
        command = (sys.executable, "-m", "spoe_agent.haproxy.guard", str(self._sock.fileno()), str(TOLD_S))
        child = await asyncio.create_subprocess_exec(
            *command, stdin=asyncio.subprocess.PIPE, pass_fds=(self._sock.fileno(),)
        )
        stdin = cast(asyncio.StreamWriter, child.stdin)
        try:
            await self._beat(stdin)
            await _end(child, stdin)
        except (BrokenPipeError, ConnectionResetError):
            log.warning("the guard of the limits has ended; they would stay as they are if the agent died")
        except asyncio.CancelledError:
            # The agent stops: the child goes on until HAProxy knows.
            _OUTLIVING.append(child)
            raise
        except Exception:
            # The agent lives: nobody is to be given other answers than its own.
            await _end(child, stdin)
            raise
        finally:
            with suppress(OSError):
                stdin.close()

    async def _beat(self, stdin: asyncio.StreamWriter) -> None:
        told: Mapping[str, str] = {}
        while not self._is_over:
            lines = self._lines()
            stdin.write(json.dumps(dict(lines)).encode() + b"\n" if lines != told else b"\n")
            told = lines
            await stdin.drain()
            await self._pause()

    def end(self) -> None:
        """Another agent is there, with a guard of its own: this one's is to end without a word."""
        self._is_over = True
        self.tell()

    def close(self) -> None:
        """Give the copy of the socket back."""
        self._sock.close()

    async def _pause(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(BEAT_S):
                await self._changed.wait()
        self._changed.clear()


async def _end(child: asyncio.subprocess.Process, stdin: asyncio.StreamWriter) -> None:
    """Have the child end without a word, and wait for that."""
    with suppress(BrokenPipeError, ConnectionResetError):
        stdin.write(END + b"\n")
        await stdin.drain()
    await child.wait()
