"""How HAProxy's connections come in. Its checks are answered between any two batches of questions, however many wait.

A loop takes one connection a turn (libuv), and reads it turns later; a turn takes as long as all the questions that
came in it. HAProxy, which opens connections by the dozen in a burst, took an agent for dead that answered them all.
"""

from __future__ import annotations

import asyncio
import selectors
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import cast

import structlog

from spoe_agent.haproxy.draining import Draining
from spoe_agent.haproxy.tally import Tally
from spoe_agent.spop import Connection, Hello

log = structlog.get_logger()

BACKLOG = 4096
"""HAProxy opens its connections in bursts, and after a reload all at once; with asyncio's 100 it gets refused."""

PAUSE_S = 1.0
"""Before connections are taken again, when one could not be: mostly for want of files."""

_HELLO_BYTES = 1024
"""More than a check says."""


class Entrance:
    """Who has connected, and has said nothing yet.

    Args:
        protocol: makes one for whoever is no check.
    """

    def __init__(
        self, draining: Draining, tally: Tally, clock: Callable[[], float], protocol: Callable[[], asyncio.Protocol]
    ) -> None:
        self._draining = draining
        self._tally = tally
        self._clock = clock
        self._protocol = protocol
        self._entering: set[asyncio.Task[None]] = set()
        self._selector: selectors.DefaultSelector | None = None
        self._listening: set[socket.socket] = set()

    def open(self, sock: socket.socket) -> None:
        """Take connections of a bound socket from now on, in the running loop."""
        if self._selector is None:
            self._selector = selectors.DefaultSelector()
            asyncio.get_running_loop().add_reader(self._selector.fileno(), self.look)
        sock.setblocking(False)
        sock.listen(BACKLOG)
        self._listening.add(sock)
        self._selector.register(sock, selectors.EVENT_READ)

    def close(self) -> None:
        """Take nobody any more; those who have said nothing yet are connections as all others."""
        if self._selector is None:
            return
        asyncio.get_running_loop().remove_reader(self._selector.fileno())
        silent = [sock for key in self._selector.get_map().values() if (sock := _socket(key)) not in self._listening]
        self._selector.close()
        self._selector = None
        for sock in silent:
            self._enter(sock)
        for sock in self._listening:
            sock.close()
        self._listening.clear()

    def look(self) -> None:
        """Take who has come. The loop calls this, and whoever is about to decide."""
        for key, _ in self._selector.select(0) if self._selector else ():
            sock = _socket(key)
            if sock in self._listening:
                self._take_from(sock)
            else:
                self._hear(sock)

    def _take_from(self, listening: socket.socket) -> None:
        # Whoever is left waits for the next look.
        for _ in range(BACKLOG):
            try:
                sock, _address = listening.accept()
            except BlockingIOError:
                return
            except ConnectionAbortedError:  # it has left again
                continue
            except OSError as error:
                self._pause(listening, error)
                return
            sock.setblocking(False)
            self._hear(sock)

    def _pause(self, listening: socket.socket, error: OSError) -> None:
        log.error("HAProxy's connections cannot be taken; the agent tries again", why=str(error))
        if self._selector is not None:
            self._selector.unregister(listening)
            asyncio.get_running_loop().call_later(PAUSE_S, self._go_on, listening)

    def _go_on(self, listening: socket.socket) -> None:
        if self._selector is not None and listening in self._listening:
            self._selector.register(listening, selectors.EVENT_READ)

    def _hear(self, sock: socket.socket) -> None:
        """Answer a check; let in who says something else, or leaves; wait for who says nothing."""
        if self._selector is None:
            return
        try:
            said = sock.recv(_HELLO_BYTES, socket.MSG_PEEK)
        except BlockingIOError:
            if sock not in self._selector.get_map():
                self._selector.register(sock, selectors.EVENT_READ)
            return
        except OSError:
            said = b""
        if sock in self._selector.get_map():
            self._selector.unregister(sock)
        answer = _answer_to_check(said)
        if answer is None:
            self._enter(sock)
            return
        self._tally.frames += 1
        with sock, suppress(OSError):  # whoever is gone asks again
            # Closed with something unread, a unix socket takes back what was sent.
            sock.recv(len(said))
            if not self._draining.refuses(self._clock()):
                sock.send(answer)

    def _enter(self, sock: socket.socket) -> None:
        """Have the loop read what has come, and all that follows."""
        task = asyncio.get_running_loop().create_task(self._entered(sock))
        self._entering.add(task)
        task.add_done_callback(self._entering.discard)

    async def _entered(self, sock: socket.socket) -> None:
        await asyncio.get_running_loop().connect_accepted_socket(self._protocol, sock)

    async def emptied(self) -> None:
        """Wait until those who were let in are connections."""
        await asyncio.gather(*self._entering, return_exceptions=True)


def _socket(key: selectors.SelectorKey) -> socket.socket:
    return cast(socket.socket, key.fileobj)


def _answer_to_check(said: bytes) -> bytes | None:
    """Return what a health check is answered in one write; None when nothing of the kind has been said."""
    spoken = Connection()
    events = spoken.receive_data(said)
    is_check = bool(events) and isinstance(events[0], Hello) and events[0].healthcheck
    return b"".join(spoken.data_to_send()) if is_check else None
