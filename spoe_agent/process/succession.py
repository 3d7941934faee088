"""One agent takes another's place while requests go on: everything it has goes through a pair of sockets.

    1. The old agent starts the new one, as it was started itself. That reads the fleet file and every Ollama.
    2. The new one says `ready`. The old one freezes, and sends its state and all its sockets: those it listens on, and
       HAProxy's connections with the requests that are held on them.
    3. The new one goes on with them and says `taken`. The old one ends. HAProxy notices nothing.

What goes wrong before `taken` leaves the old one in its place. Here: the way and the parcel; the steps are `service`'s.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import Final, Literal, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from spoe_agent.haproxy.passing import Passed
from spoe_agent.routing import Choice, RequestFacts
from spoe_agent.routing.choice import Writing
from spoe_agent.routing.hold import Ticket

VARIABLE = "POINTSMAN_SUCCEEDS"
"""Environment of the new agent: the number of its socket."""

START_DEADLINE_S = 60.0
TAKEN_DEADLINE_S = 5.0

READY, TAKEN, FAILED = b"r", b"t", b"f"
"""What the new agent says; behind the last one, why."""

MAX_REASON_BYTES = 4000

SOCKETS_AT_ONCE = 100
"""Linux passes at most 253 in one message (unix(7), SCM_RIGHTS)."""

_LENGTH_BYTES = 8


class Failed(Exception):
    """The old agent goes on; the text says why."""


FORMAT: Final = 5
"""Of what is sent. To be raised whenever Estate, or anything in it, is another."""


class Estate(BaseModel):
    """What is sent beside the sockets."""

    model_config = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64")

    format: Literal[5]
    """Another is refused: an agent of another version cannot be asked to go on with what it does not understand."""
    kept: str
    """The state file's text (agent.statefile)."""
    tickets: list[Ticket]
    """Held requests, oldest first."""
    early: list[tuple[Choice, RequestFacts]]
    """Grants that HAProxy has not asked for yet."""
    writings: dict[str, tuple[Writing, ...]]
    """Changes that were decided and that HAProxy has not brought to the door yet."""
    changes: dict[str, float]
    """When each change of a store that is going on was let through."""
    homes: list[tuple[str, str]]
    """Conversations and their instances, used longest ago first."""
    places: list[str]
    """What the first sockets listen on, as `listening.Place` writes it; the last of them is the lock."""
    connections: list[Passed]
    """Of the sockets behind those."""


class Successor:
    """The old agent's side."""

    def __init__(self, channel: socket.socket, child: asyncio.subprocess.Process) -> None:
        self._channel = channel
        self._child = child

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._child.pid

    @classmethod
    async def start(cls, command: Sequence[str]) -> Self:
        """Start the new agent by its command line, and wait until it is ready. Raises Failed."""
        with ExitStack() as stack:
            try:
                ours, theirs = map(stack.enter_context, socket.socketpair())
                child = await asyncio.create_subprocess_exec(
                    *command,
                    stdin=asyncio.subprocess.DEVNULL,
                    env={**os.environ, VARIABLE: str(theirs.fileno())},
                    pass_fds=(theirs.fileno(),),
                )
            except OSError as error:
                # uvloop's error does not name the program.
                raise Failed(f"{command[0]} cannot be started: {error.strerror or error}") from error
            theirs.close()
            stack.pop_all()
        it = cls(ours, child)
        try:
            await it._hear(READY, START_DEADLINE_S, "did not become ready")
        except BaseException:
            await it.give_up()
            raise
        return it

    async def send(self, estate: Estate, sockets: Sequence[socket.socket]) -> None:
        """Send everything, and wait until it is taken. Raises Failed."""
        try:
            await asyncio.to_thread(_send, self._channel, estate.model_dump_json().encode(), sockets)
        except OSError as error:
            raise Failed(f"the new agent cannot be told: {error}") from error
        await self._hear(TAKEN, TAKEN_DEADLINE_S, "did not take over")
        self._channel.close()

    async def give_up(self) -> None:
        """End the new agent."""
        self._channel.close()
        if self._child.returncode is None:
            self._child.kill()
        await self._child.wait()

    async def _hear(self, word: bytes, deadline_s: float, otherwise: str) -> None:
        self._channel.settimeout(deadline_s)
        try:
            heard = await asyncio.to_thread(_word, self._channel)
        except OSError:
            heard = b""
        if heard != word:
            why = heard.removeprefix(FAILED).decode("utf-8", "replace")
            raise Failed(f"the new agent {otherwise}{f': {why}' if why else '; what it says is in the log'}")


@dataclass(frozen=True, slots=True)
class Received:
    """What a new agent got."""

    estate: Estate
    listening: dict[str, socket.socket]
    """By place."""
    lock: socket.socket
    connections: list[tuple[socket.socket, Passed]]


class Predecessor:
    """The new agent's side."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel

    @classmethod
    def of_this_process(cls) -> Self | None:
        """Return the agent whose place this one takes; None: there is none."""
        number = os.environ.pop(VARIABLE, "")
        if not number:
            return None
        channel = socket.socket(fileno=int(number))
        channel.set_inheritable(False)
        channel.settimeout(TAKEN_DEADLINE_S)
        return cls(channel)

    async def take(self) -> Received:
        """Say that this agent is ready, and take everything. Raises OSError, ValueError."""
        data, sockets = await asyncio.to_thread(self._receive)
        try:
            estate = Estate.model_validate_json(data)
        except ValidationError as error:
            # What pydantic says of it holds pieces of what was handed over.
            first = error.errors(include_input=False, include_url=False)[0]
            where = ".".join(map(str, first["loc"]))
            raise OSError(
                f"the running agent is of another version ({where}: {first['msg']}): restart its unit"
            ) from None
        count = len(estate.places)
        places = dict(zip(estate.places, sockets, strict=False))
        passed = list(zip(sockets[count + 1 :], estate.connections, strict=True))
        return Received(estate, places, sockets[count], passed)

    def done(self) -> None:
        """Say that everything was taken: the old agent ends."""
        self._channel.sendall(TAKEN)
        self._channel.close()

    def told(self, why: str) -> None:
        """Say why this agent ends, unless it has taken over."""
        with suppress(OSError):
            self._channel.sendall(FAILED + why.encode("utf-8", "replace")[:MAX_REASON_BYTES])
        self._channel.close()

    def _receive(self) -> tuple[bytes, list[socket.socket]]:
        self._channel.sendall(READY)
        length, count = (int.from_bytes(self._exactly(_LENGTH_BYTES)) for _ in range(2))
        data = self._exactly(length)
        sockets: list[socket.socket] = []
        while len(sockets) < count:
            _, numbers, flags, _ = socket.recv_fds(self._channel, 1, SOCKETS_AT_ONCE)
            for number in numbers:
                # Not for children: guards and later agents would have it too. Python 3.11 passes no flags on here.
                os.set_inheritable(number, False)
            if flags & socket.MSG_CTRUNC:
                raise OSError(errno.EMFILE, f"of {count} sockets, {len(sockets) + len(numbers)} could be had")
            if not numbers:
                raise OSError("the old agent ended")
            sockets += [socket.socket(fileno=number) for number in numbers]
        return data, sockets

    def _exactly(self, count: int) -> bytes:
        data = memoryview(bytearray(count))
        got = 0
        while got < count:
            more = self._channel.recv_into(data[got:])
            if not more:
                raise OSError("the old agent ended")
            got += more
        return bytes(data)


def _word(channel: socket.socket) -> bytes:
    """Return what the new agent says next; with the reason, when that is that it failed."""
    word = channel.recv(1)
    if word == FAILED:
        while len(word) <= MAX_REASON_BYTES and (more := channel.recv(MAX_REASON_BYTES)):
            word += more
    return word


def _send(channel: socket.socket, data: bytes, sockets: Sequence[socket.socket]) -> None:
    channel.settimeout(TAKEN_DEADLINE_S)
    channel.sendall(len(data).to_bytes(_LENGTH_BYTES) + len(sockets).to_bytes(_LENGTH_BYTES) + data)
    for begin in range(0, len(sockets), SOCKETS_AT_ONCE):
        numbers = [sock.fileno() for sock in sockets[begin : begin + SOCKETS_AT_ONCE]]
        # Each with one byte of its own: the receiver takes one byte and what came with it.
        socket.send_fds(channel, [b"s"], numbers)
