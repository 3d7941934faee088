"""A DNS server that knows what a test says: A records, and that other names do not exist (RFC 1035)."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

A, TTL_S = 1, 1
_QUESTION = 12
"""Where the question begins; its name ends with an empty label, type and class follow."""


class _Server(asyncio.DatagramProtocol):
    def __init__(self, addresses: dict[str, str]) -> None:
        self._addresses = addresses

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        end = data.index(b"\0", _QUESTION)
        labels, at = [], _QUESTION
        while at < end:
            labels.append(data[at + 1 : at + 1 + data[at]])
            at += 1 + data[at]
        found = self._addresses.get(b".".join(labels).decode().lower())
        wants = int.from_bytes(data[end + 1 : end + 3], "big")
        record = b"\xc0\x0c" + bytes([0, A, 0, 1, 0, 0, 0, TTL_S, 0, 4]) + socket.inet_aton(found) if found else b""
        answers = record if wants == A else b""
        flags = b"\x81\x80" if found else b"\x81\x83"
        counts = b"\0\1" + bytes([0, 1 if answers else 0]) + b"\0\0\0\0"
        self._transport.sendto(data[:2] + flags + counts + data[_QUESTION : end + 5] + answers, addr)


@asynccontextmanager
async def dns(addresses: dict[str, str]) -> AsyncIterator[int]:
    """Answer from `addresses`, which may change, on a free port of loopback; give the port."""
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(lambda: _Server(addresses), ("127.0.0.1", 0))
    try:
        yield transport.get_extra_info("sockname")[1]
    finally:
        transport.close()
