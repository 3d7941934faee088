"""What HAProxy's line of a request that ended tells of the instance: of its health, and of its lists of models.

Pure: lines in, words out.
"""

from __future__ import annotations

from enum import Enum

from spoe_agent.agent.account import Grant
from spoe_agent.agent.ending import Line
from spoe_agent.routing import Kind

BROKEN_STREAMS = frozenset({"SD", "sD"})
"""Termination states (configuration.txt 8.5): the server broke off, or fell silent, in the middle of its answer."""

NO_CONNECTION = frozenset({"SC", "sC"})

CLIENTS_OWN = frozenset({501, 505})
"""5xx that say nothing of the instance's health."""

BUSY = 503
"""Ollama's queue is full (server/sched.go ErrMaxQueue): no sign of illness."""

REFUSED = "refused a request's connection"


class Manner(Enum):
    """How the instance treated a request."""

    SERVED = "served"
    REFUSED = "refused"
    """Could not connect."""
    ERRED = "erred"
    """Was answered wrongly, or its stream broke."""
    UNKNOWN = "unknown"
    """It ended for other reasons, such as a client that left."""


def manner(line: Line, grant: Grant) -> tuple[Manner, str]:
    """Return how the instance that a request was granted to treated it, and what speaks against it."""
    if line.server != grant.instance:
        # HAProxy gave up on the instance and took another.
        return (Manner.REFUSED, REFUSED) if line.is_redispatched else (Manner.UNKNOWN, "")
    if line.termination in NO_CONNECTION:
        return Manner.REFUSED, REFUSED
    if line.termination in BROKEN_STREAMS:
        return Manner.ERRED, f"broke streams off ({line.termination}), last of {grant.model}"
    if line.status >= 500 and line.status != BUSY and line.status not in CLIENTS_OWN:
        return Manner.ERRED, f"answered {line.status} for {grant.model}"
    return (Manner.SERVED if line.ending.is_whole else Manner.UNKNOWN), ""


def changes_lists(line: Line) -> bool:
    """Tell whether a request shows that a store has changed: it changed it, or did not find what is on our list."""
    if line.kind is Kind.MANAGE:
        return 200 <= line.status < 300
    return line.kind in (Kind.INFERENCE, Kind.DESCRIBE) and line.status == 404
