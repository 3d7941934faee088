"""HAProxy's line per finished request, as a datagram: the moment a grant ends.

What is in a line: `contract.LINE`. Lost or foreign datagrams are normal; neither is an error.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Mapping
from typing import Any

import structlog
from pydantic_core import from_json

from spoe_agent.agent.ending import Ending, Left, Line
from spoe_agent.haproxy.contract import FALLBACK, GIVEN_UP, LEFT, UNSET, Field
from spoe_agent.routing.surface import classify

log = structlog.get_logger()

BUFFER_BYTES = 8 * 1024 * 1024
"""Room for the lines of a burst; the kernel gives what its net.core.rmem_max allows."""

LINES_AT_ONCE = 1024
"""asyncio's datagram transports read a few per turn of the loop, fewer than a busy agent decides in one: lines would
be lost although there is time for them."""

_MAX_LINE_BYTES = 65_536


class HAProxyLog:
    """Receives the JSON lines that haproxy.cfg sends to `listeners.log`, and reports each."""

    def __init__(self, sock: socket.socket, ended: Callable[[Line], None]) -> None:
        """Take a bound UDP socket."""
        self._ended = ended
        self._complained = False
        self._bugs: set[type[Exception]] = set()
        self._socket = sock
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
        self._socket.setblocking(False)

    def start(self) -> None:
        """Read from now on, in the running loop."""
        asyncio.get_running_loop().add_reader(self._socket, self.read)

    def close(self) -> None:
        """Stop reading."""
        asyncio.get_running_loop().remove_reader(self._socket)
        self._socket.close()

    def read(self) -> None:
        """Take the lines that have come. The loop calls this, and whoever is about to decide: a question is decided on
        the board as it is, and the line of the request before it may wait on this socket.
        """
        for _ in range(LINES_AT_ONCE):
            try:
                self._take(self._socket.recv(_MAX_LINE_BYTES))
            except BlockingIOError:
                return
            except OSError as error:
                # An ICMP answer to nothing of ours; the next datagram will tell.
                log.debug("log socket error", error=str(error))
                return

    def _report(self, line: Line) -> None:
        try:
            self._ended(line)
        except Exception as error:
            # A bug of ours must cost neither the lines behind this one, nor the question before which they are read.
            if type(error) not in self._bugs:
                self._bugs.add(type(error))
                log.exception("a request's end could not be taken")

    def _take(self, line: bytes) -> None:
        """Take one line. The first that is not ours is logged, the rest are left alone."""
        read = read_line(line)
        if read is not None:
            self._report(read)
        elif not self._complained and not line.startswith(_NEWS):
            self._complained = True
            log.warning("datagram on the log port is not a request's JSON line", size_bytes=len(line))


_NEWS = (b"Server ", b"Backup Server ", b"Proxy ", b"backend ", b"Backend ", b"Health check ", b"Agent check ")
"""What HAProxy writes to every log of a proxy, whatever the format: servers that come and go."""


def read_line(line: bytes) -> Line | None:
    """Return what a line says, or None when it is not one of ours. Times that were never reached are -1."""
    try:
        fields: Mapping[Field, Any] = from_json(line)
        status, termination = fields["status"], fields["termination"]
        well = termination == "--" and status == 200
        redispatched = str(fields.get("retries", "")).startswith("+")
        first_ms, data_ms = fields["first_byte_ms"], fields["data_ms"]
        whole = well and not redispatched and first_ms >= 0 and data_ms >= 0
        ending = Ending(first_ms / 1000, (first_ms + data_ms) / 1000, whole, _left(fields), well and redispatched)
        error = _set(fields, "spoe_error")
        return Line(
            str(fields["id"]),
            _set(fields, "at") or str(fields["server"]),
            ending,
            status,
            termination,
            int(fields.get("bytes", 0)),
            redispatched,
            _set(fields, "process"),
            float(fields.get("time", 0)),
            _fell_back(fields) or (error != "" and error not in GIVEN_UP),
            error,
            classify(str(fields.get("method", "")), str(fields.get("path", ""))),
            _set(fields, "caller"),
            _set(fields, "request_id"),
            max(0, fields.get("queue_ms", 0)) / 1000,
        )
    except (ValueError, KeyError, TypeError, OverflowError):
        return None


def _left(fields: Mapping[Field, Any]) -> Left | None:
    """Return how far a request was when its client left (configuration.txt 8.5)."""
    termination = str(fields["termination"])
    if not termination.startswith("C"):
        return Left.BEFORE if fields.get("reason") == LEFT else None
    return {"H": Left.UNANSWERED, "D": Left.ANSWERED, "L": Left.ANSWERED}.get(termination[1:2], Left.BEFORE)


def _set(fields: Mapping[Field, Any], name: Field) -> str:
    value = str(fields.get(name, UNSET))
    return "" if value == UNSET else value


def _fell_back(fields: Mapping[Field, Any]) -> bool:
    """Whoever left while HAProxy waited for the agent, or for a slot, went nowhere."""
    termination = str(fields["termination"])
    has_left = termination.startswith("C") and not termination.startswith("CD")
    return str(fields.get("reason", "")).startswith(FALLBACK) and not has_left
