"""What stands in for Ollama in agent_throughput: takes bodies of any size, and answers at once or in a stream.

Run by it as a process: python -m bench.throughput_upstream MODE PORT...; MODE is `at-once` or `streamed`.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
from typing import cast

import uvloop

MODES = AT_ONCE, STREAMED = "at-once", "streamed"
READ_BYTES = 256 * 1024
LINES = 20
"""Of a streamed answer."""
PAUSE_S = 0.001
BACKLOG = 1024

_LENGTH = re.compile(rb"\ncontent-length: *(\d+)", re.I)
_SIZE = 5_000_000_000


def _answer(document: object) -> bytes:
    text = json.dumps(document).encode()
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(text), text)


MODELS = _answer({"models": [{"model": "alpha:latest", "size": _SIZE, "size_vram": _SIZE}]})
VERSION = _answer({"version": "0"})
DONE = _answer({"done": True})
STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n"


def _chunk(document: object) -> bytes:
    text = json.dumps(document).encode() + b"\n"
    return b"%x\r\n%b\r\n" % (len(text), text)


TOKEN = _chunk({"model": "alpha", "message": {"role": "assistant", "content": "word"}, "done": False})
LAST = _chunk({"model": "alpha", "done": True}) + b"0\r\n\r\n"


class Upstream(asyncio.BufferedProtocol):
    """One connection; one request after another."""

    def __init__(self, is_streamed: bool) -> None:
        self._is_streamed = is_streamed
        self._buffer = bytearray(READ_BYTES)
        self._head = b""
        self._missing = 0
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def get_buffer(self, sizehint: int) -> bytearray:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        if self._missing:
            self._missing -= nbytes
            if self._missing <= 0:
                self._answer_post()
            return
        self._head += self._buffer[:nbytes]
        end = self._head.find(b"\r\n\r\n") + 4
        if end < 4:
            return
        head, self._head, here = self._head[:end], b"", len(self._head) - end
        if not head.startswith(b"POST"):
            path = head.split(b" ", 2)[1]
            self._transport.write(MODELS if path in (b"/api/ps", b"/api/tags") else VERSION)
            return
        found = _LENGTH.search(head)
        self._missing = int(found[1]) - here if found else 0
        if self._missing <= 0:
            self._answer_post()

    def _answer_post(self) -> None:
        self._missing = 0
        if not self._is_streamed:
            self._transport.write(DONE)
            return
        self._transport.write(STREAM + TOKEN)
        asyncio.get_running_loop().call_later(PAUSE_S, self._go_on, LINES - 2)

    def _go_on(self, left: int) -> None:
        if self._transport.is_closing():
            return
        self._transport.write(TOKEN if left else LAST)
        if left:
            asyncio.get_running_loop().call_later(PAUSE_S, self._go_on, left - 1)


async def serve(mode: str, ports: list[int]) -> None:
    """Answer on these ports of the loopback for ever."""
    loop = asyncio.get_running_loop()
    for port in ports:
        await loop.create_server(lambda: Upstream(mode == STREAMED), "127.0.0.1", port, backlog=BACKLOG)
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(serve(sys.argv[1], [int(port) for port in sys.argv[2:]]))
