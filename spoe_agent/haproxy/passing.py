"""HAProxy's connections, as one process passes them to another while requests go on.

First nothing more is read, so that what comes waits in the kernel; what is under way is answered, but bodies are not
read to their end; then each connection is a socket and a little state.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Collection
from dataclasses import dataclass
from typing import Protocol

from spoe_agent.haproxy.draining import Draining
from spoe_agent.spop import Connection, Notify, State, encode_notify

SETTLE_S = 0.005
"""A few turns of the loop."""


@dataclass(frozen=True, slots=True)
class Passed:
    """What the new owner of a connection must know."""

    process: str
    """The HAProxy process whose it is; "" when it has not said so yet."""
    max_frame_size: int | None
    """As it was negotiated; None: HAProxy has not said hello yet."""
    buffered: bytes
    """Questions that are not decided, and what has come of a frame that is not complete yet."""
    held: tuple[tuple[str, int, int], ...]
    """Requests that wait for their answer here: id, stream and frame."""


class Passable(asyncio.Protocol):
    """What every connection of HAProxy's can do for that (server.SpopProtocol)."""

    _transport: asyncio.Transport
    _conn: Connection
    _process: str
    _later: set[asyncio.Task[None]]
    """Answers under way."""
    _undecided: list[Notify]
    """Questions that were under way when it was frozen, and are to be decided anew by whoever has them then."""
    _asked: dict[str, tuple[int, int]]
    """Stream and frame of those that are held, by the request's id."""

    @property
    def is_open(self) -> bool:
        """There is still something to say."""
        return not self._conn.closed

    def freeze(self) -> bool:
        """Read nothing more; tell whether all answers that were under way have been written."""
        if not self._transport.is_closing():
            self._transport.pause_reading()
        return not self._later and not self._transport.get_write_buffer_size()

    def thaw(self) -> None:
        """Go on."""
        if not self._transport.is_closing():
            self._transport.resume_reading()

    def abandon(self) -> None:
        """Close it here: another process has it."""
        self._transport.abort()

    def hand(self) -> tuple[socket.socket, Passed]:
        """Return a copy of the socket, and what its new owner must know."""
        size = None if self._conn.state is State.WAIT_HELLO else self._conn.max_frame_size
        held = tuple((request_id, *ids) for request_id, ids in self._asked.items())
        questions = [encode_notify(one.stream_id, one.frame_id, one.messages) for one in self._undecided]
        passed = Passed(self._process, size, b"".join([*questions, self._conn.buffered]), held)
        return socket.socket(fileno=os.dup(self._transport.get_extra_info("socket").fileno())), passed


class ConnectionOwner(Protocol):
    """Who has connections (server.Server)."""

    draining: Draining

    @property
    def connections(self) -> Collection[Passable]:
        """All."""

    def close_listeners(self) -> None:
        """Accept nobody any more."""

    async def emptied(self) -> None:
        """Wait until all who were accepted are among the connections."""


async def freeze(owner: ConnectionOwner, deadline_s: float) -> bool:
    """Accept, read and give up nothing more; tell whether all answers under way were written in time."""
    owner.draining.is_frozen = True
    owner.close_listeners()
    await owner.emptied()
    # What has come by now is read, and goes on with its connection.
    await asyncio.sleep(SETTLE_S)
    try:
        async with asyncio.timeout(deadline_s):
            while not all([connection.freeze() for connection in owner.connections]):
                await asyncio.sleep(SETTLE_S)
    except TimeoutError:
        return False
    return True


def thaw(owner: ConnectionOwner) -> None:
    """Go on; listening is to follow."""
    owner.draining.is_frozen = False
    for connection in owner.connections:
        connection.thaw()


def hand(owner: ConnectionOwner) -> list[tuple[socket.socket, Passed]]:
    """Return all connections for another process, as they are while frozen. Raises OSError: no files left."""
    found: list[tuple[socket.socket, Passed]] = []
    try:
        for connection in owner.connections:
            if connection.is_open:
                found.append(connection.hand())
    except BaseException:
        for sock, _ in found:
            sock.close()
        raise
    return found


def abandon(owner: ConnectionOwner) -> None:
    """Close all connections here: another process has them."""
    for connection in list(owner.connections):
        connection.abandon()
