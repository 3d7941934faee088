"""HAProxy's line per finished request, as a datagram: the moment a grant ends.

Must not live here: accounts (board). Lost or foreign datagrams are normal; neither is an error.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog
from pydantic_core import from_json

log = structlog.get_logger()


class HAProxyLog(asyncio.DatagramProtocol):
    """Receives the JSON lines that haproxy.cfg sends to `listeners.log`, and reports the id of each request."""

    def __init__(self, ended: Callable[[str], None]) -> None:
        self._ended = ended
        self._complained = False

    def datagram_received(self, data: bytes, addr: object) -> None:
        """Take one line. The first that is not ours is logged, the rest are left alone."""
        request_id = _request_id(data)
        if request_id is not None:
            self._ended(request_id)
        elif not self._complained:
            self._complained = True
            log.warning("datagram on the log port is not a request's JSON line", size_bytes=len(data), sender=str(addr))

    def error_received(self, exc: Exception) -> None:
        """Note an ICMP error; the next datagram will tell."""
        log.debug("log socket error", error=str(exc))


def _request_id(data: bytes) -> str | None:
    try:
        line = from_json(data)
    except ValueError:
        return None
    found = line.get("id") if isinstance(line, dict) else None
    return found if isinstance(found, str) else None
