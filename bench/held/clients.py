"""Callers: one connection each, opened before its request is sent, so that thousands can ask in the same instant.

Hand-made HTTP/1.1, because a client library costs more than HAProxy and agent together.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True, slots=True)
class Answered:
    """What a caller got."""

    key: str
    model: str
    status: int
    """0: the connection ended before an answer."""
    reason: str
    """The second part of `x-pointsman`."""
    wait_s: float
    """From sending to the answer's headers."""
    ended_at_s: float
    """Monotonic."""


@dataclass(slots=True)
class Caller:
    """One connection of one key. Leaving the context closes it, as a client does that gives up."""

    key: str
    _reader: asyncio.StreamReader
    _writer: asyncio.StreamWriter
    _model: str = ""
    _sent_at_s: float = 0.0

    @classmethod
    async def connect(cls, port: int, key: str) -> Caller:
        """Open a connection to the front."""
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        return cls(key, reader, writer)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Leave, answered or not."""
        self._writer.transport.abort()

    def ask(self, model: str, tokens: int = 1) -> None:
        """Send a request for so many tokens, all at once and not as a stream."""
        options = {"num_predict": tokens}
        messages = [{"role": "user", "content": f"{self.key} asks"}]
        body = json.dumps({"model": model, "messages": messages, "stream": False, "options": options}).encode()
        head = (
            f"POST /api/chat HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {self.key}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        self._model, self._sent_at_s = model, time.monotonic()
        self._writer.write(head.encode() + body)

    async def answer(self) -> Answered:
        """Return the answer to what was asked last."""
        try:
            head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").splitlines()
            at_s = time.monotonic()
            fields = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:])}
            await self._read_body(fields)
        except (OSError, asyncio.IncompleteReadError):
            return self._note(0, "no answer", time.monotonic())
        reason = fields.get("x-pointsman", "").partition(" ")[2]
        return self._note(int(head[0].split()[1]), reason, at_s)

    async def _read_body(self, fields: Mapping[str, str]) -> None:
        """Read to the end of the answer: Ollama sends more than 2 KiB in chunks."""
        if "content-length" in fields:
            await self._reader.readexactly(int(fields["content-length"]))
            return
        while size := int(await self._reader.readline(), 16):
            await self._reader.readexactly(size + len("\r\n"))
        await self._reader.readexactly(len("\r\n"))

    def _note(self, status: int, reason: str, at_s: float) -> Answered:
        return Answered(self.key, self._model, status, reason, at_s - self._sent_at_s, time.monotonic())
