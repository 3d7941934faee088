"""A lossy way between HAProxy and the agent's log port."""

from __future__ import annotations

import asyncio
import random
import socket
from typing import Self

BUFFER_BYTES = 8 << 20
LINES_AT_ONCE = 1024
MAX_LINE_BYTES = 65_536


class Relay:
    """Passes datagrams on, except for a share of them, chosen at random from a seed."""

    def __init__(self, to_port: int, lost_share: float, seed: int) -> None:
        self.passed = 0
        self.lost = 0
        self._to = ("127.0.0.1", to_port)
        self._lost_share = lost_share
        self._random = random.Random(seed)
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
        self._socket.setblocking(False)
        self._socket.bind(("127.0.0.1", 0))

    @property
    def port(self) -> int:
        """Where it receives."""
        port: int = self._socket.getsockname()[1]
        return port

    async def __aenter__(self) -> Self:
        asyncio.get_running_loop().add_reader(self._socket, self._read)
        return self

    async def __aexit__(self, *exc: object) -> None:
        asyncio.get_running_loop().remove_reader(self._socket)
        self._socket.close()

    def _read(self) -> None:
        for _ in range(LINES_AT_ONCE):
            try:
                line = self._socket.recv(MAX_LINE_BYTES)
            except BlockingIOError:
                return
            if self._random.random() < self._lost_share:
                self.lost += 1
            else:
                self.passed += 1
                self._socket.sendto(line, self._to)
