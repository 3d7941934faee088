"""Where mitmproxy listens for a fleet."""

from __future__ import annotations

import logging
import socket

from spoe_agent.fleet import Fleet

log = logging.getLogger(__name__)


def reverse(fleet: Fleet) -> str:
    """Return reverse mode on the front port, to itself: a request that nobody routed is refused by mitmproxy."""
    front = fleet.listeners.front
    return f"reverse:http://127.0.0.1:{front.port}@{front.host}:{front.port}"


def complain_if_taken(fleet: Fleet) -> None:
    """An error now ends mitmproxy; later it would go on without listening."""
    front = fleet.listeners.front
    try:
        family = socket.AF_INET6 if ":" in front.host else socket.AF_INET
        socket.create_server((front.host, front.port), family=family).close()
    except OSError as taken:
        log.error("cannot listen on %s (listeners.front of the fleet file): %s", front, taken.strerror)
