"""HAProxy's end of an SPOP connection, scripted: says what a test wants, and shows what came back."""

from __future__ import annotations

import asyncio
import json
import select
import socket
from collections.abc import Callable
from typing import Self

from spoe_agent.fleet import Listen
from spoe_agent.haproxy.contract import AT_ONCE, Question
from spoe_agent.spop import (
    AgentHello,
    Disconnected,
    FrameBuffer,
    FrameType,
    Header,
    Hello,
    Message,
    encode_haproxy_hello,
    encode_notify,
    read_actions,
    read_agent_hello,
    read_disconnect,
    read_header,
)

DEADLINE_S = 30
MAX_FRAME_SIZE = 65_536
HELLO = encode_haproxy_hello(Hello(MAX_FRAME_SIZE, ("pipelining",), "engine"))
HEALTH_CHECK = encode_haproxy_hello(Hello(MAX_FRAME_SIZE, (), healthcheck=True))

Answer = tuple[int, int, dict[str, object]]
"""Stream-id, frame-id, variables."""


def read(model: str | None, number: int = 1, **args: object) -> Message:
    """A question for a model; each number is another request."""
    body = json.dumps({"model": model}).encode()
    given = {
        "id": f"r{number}",
        "method": "POST",
        "path": "/api/chat",
        "size": len(body),
        "seen": len(body),
        "head": body,
    }
    return Message(Question.READ, {**dict.fromkeys(AT_ONCE[Question.READ]), **given, **args})


def question(model: str | None, number: int = 1, **args: object) -> bytes:
    """The same as a NOTIFY frame, with the number as both of its ids."""
    return encode_notify(number, number, [read(model, number, **args)])


class Peer:
    """One connection to an agent. Leaving the context closes it."""

    def __init__(self, listen: Listen) -> None:
        self._listen = listen
        self._buffer = FrameBuffer(MAX_FRAME_SIZE)
        self._reader: asyncio.StreamReader
        self._writer: asyncio.StreamWriter

    async def __aenter__(self) -> Self:
        listen = self._listen
        if listen.path:
            self._reader, self._writer = await asyncio.open_unix_connection(listen.path)
        else:
            self._reader, self._writer = await asyncio.open_connection(listen.host, listen.port)
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._writer.transport.abort()

    def send(self, *frames: bytes) -> None:
        """Write all in one go."""
        self._writer.write(b"".join(frames))

    async def trickle(self, data: bytes) -> None:
        """Write byte by byte; the agent, on the same loop, gets each before the next."""
        for byte in data:
            self._writer.write(bytes((byte,)))
            await asyncio.sleep(0)
            await asyncio.sleep(0)

    async def opened(self) -> Self:
        """Shake hands."""
        self.send(HELLO)
        await self.hello()
        return self

    async def hello(self) -> AgentHello:
        """Take the AGENT-HELLO."""
        header, frame = await self._frame()
        assert header.type == FrameType.AGENT_HELLO
        return read_agent_hello(frame, header.payload_start)

    async def answer(self) -> Answer:
        """Take an ACK."""
        header, frame = await self._frame()
        assert header.type == FrameType.ACK
        return header.stream_id, header.frame_id, variables(frame, header.payload_start)

    async def answers(self, number: int) -> list[Answer]:
        """Take so many ACKs."""
        return [await self.answer() for _ in range(number)]

    async def goodbye(self) -> Disconnected:
        """Take the AGENT-DISCONNECT, behind which the connection ends."""
        header, frame = await self._frame()
        assert header.type == FrameType.AGENT_DISCONNECT
        assert await self.ended()
        return read_disconnect(frame, header.payload_start)

    def end(self) -> None:
        """Say that nothing more comes."""
        self._writer.write_eof()

    async def data(self) -> bytes:
        """Take what the next read brings, as it is."""
        return await self._bytes()

    async def ended(self) -> bool:
        """Tell whether the connection ends, with nothing before that."""
        return not len(self._buffer) and await self._bytes() == b""

    async def _frame(self) -> tuple[Header, bytes]:
        while (frame := self._buffer.next_frame()) is None:
            data = await self._bytes()
            assert data, "the agent closed the connection"
            self._buffer.append(data)
        return read_header(frame), frame

    async def _bytes(self) -> bytes:
        try:
            async with asyncio.timeout(DEADLINE_S):
                return await self._reader.read(65_536)
        except ConnectionResetError:
            return b""


def variables(frame: bytes, pos: int) -> dict[str, object]:
    """The variables that an ACK sets."""
    return {action.name: action.value for action in read_actions(frame, pos)}


async def turns_until(condition: Callable[[], bool]) -> bool:
    """Give the agent, on the same loop, turns until the condition holds; tell if it does not although nothing moves."""
    for _ in range(200):
        if condition():
            return True
        await asyncio.sleep(0)
    return False


def writable(peer: socket.socket) -> bool:
    """Tell whether a bare socket takes bytes now."""
    return _is_ready(peer, select.POLLOUT)


def readable(peer: socket.socket) -> bool:
    """Tell whether a bare socket has bytes now."""
    return _is_ready(peer, select.POLLIN)


def _is_ready(peer: socket.socket, event: int) -> bool:
    """`select` takes no descriptor above 1,023."""
    poll = select.poll()
    poll.register(peer, event)
    return bool(poll.poll(0))
