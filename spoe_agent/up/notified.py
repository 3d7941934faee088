"""What the agent tells its service manager (sd_notify(3)), which is `up` here: that it is ready, and who follows it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from uuid import uuid4


class Notified:
    """Takes the agent's notices. `address` is for its environment (NOTIFY_SOCKET)."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self.is_ready = False
        self.main_pid: int | None = None

    @classmethod
    @contextmanager
    def open(cls) -> Iterator[Notified]:
        """Listen at an address of one's own; it leaves no file (unix(7), abstract)."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            sock.bind(f"\0pointsman up {uuid4().hex}")
            it = cls(sock)
            loop = asyncio.get_running_loop()
            loop.add_reader(sock, it.read)
            try:
                yield it
            finally:
                loop.remove_reader(sock)

    @property
    def address(self) -> str:
        """As sd_notify(3) writes abstract addresses."""
        return "@" + str(self._sock.getsockname()[1:].decode())

    def read(self) -> None:
        """Take what is there."""
        with suppress(BlockingIOError):
            while True:
                for line in self._sock.recv(4096).decode("utf-8", "replace").splitlines():
                    key, _, value = line.partition("=")
                    if key == "READY":
                        self.is_ready = True
                    elif key == "MAINPID" and value.isdecimal():
                        self.main_pid = int(value)
