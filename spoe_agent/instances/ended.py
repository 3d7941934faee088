"""What HAProxy's line of a request that ended tells of the instance: of its health, and of its lists of models.

Pure: lines in, words out.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

from spoe_agent.agent.ending import Line
from spoe_agent.agent.grant import Grant
from spoe_agent.routing import InstanceSpec, Kind
from spoe_agent.routing.names import display, is_cloud

BROKEN = frozenset({"SD", "sD", "SH", "sH"})
"""Termination states (configuration.txt 8.5): the server broke off, or fell silent, before its answer or in the middle
of it. Ollama does not do that, whatever it is asked for: it answers 500, or ends the stream.
"""

NO_CONNECTION = frozenset({"SC", "sC"})

CLIENTS_OWN = frozenset({501, 505})
"""5xx that say nothing of the instance's health."""

FULL = 503
"""Ollama's queue is full (server/sched.go ErrMaxQueue): no sign of illness."""

NOT_HERE = frozenset({404, 429})
"""The model is not there, or not allowed now: says nothing of the instance beside."""

LEFT_WAITING = "CH"
"""The client left before the first byte; the instance had the request."""

REFUSED = "refused a request's connection"
REPEATED = "failed a request, which went elsewhere"


class Manner(Enum):
    """How the instance treated a request."""

    SERVED = "served"
    REFUSED = "refused"
    """Could not connect."""
    BROKE = "broke"
    """Its connection broke, or fell silent, before the end."""
    ERRED = "erred"
    """Was answered with an error, which may be the model's or the client's own fault."""
    FULL = "full"
    """Turned away at once, as anything would be."""
    DENIED = "denied"
    """Turned away at once, for its model."""
    WAITED = "waited"
    """Was not answered until its client left."""
    BEGUN = "begun"
    """Was answered, but its end tells nothing."""
    UNKNOWN = "unknown"
    """It ended for other reasons, such as a client that left."""


def manner(line: Line, grant: Grant) -> tuple[Manner, str]:
    """Return how the instance that a request was granted to treated it, and what speaks against it."""
    if line.server != grant.instance:
        # HAProxy gave up on the instance and took another; for which failure, it says only where it repeats none.
        if line.is_redispatched:
            return (Manner.ERRED, REPEATED) if grant.is_repeated else (Manner.REFUSED, REFUSED)
        return Manner.UNKNOWN, ""
    if line.termination in NO_CONNECTION:
        return Manner.REFUSED, REFUSED
    if line.termination in BROKEN:
        what = "broke off streams" if line.termination.endswith("D") else "did not answer requests"
        return Manner.BROKE, f"{what} ({line.termination}), last of {display(grant.model)}"
    if line.termination == LEFT_WAITING:
        return Manner.WAITED, ""
    return _by_status(line, grant)


def _by_status(line: Line, grant: Grant) -> tuple[Manner, str]:
    is_its_own, why = line.ending.first_byte_s >= 0, f"answered {line.status} for {display(grant.model)}"
    if line.ending.is_whole:
        return Manner.SERVED, ""
    if line.status in NOT_HERE or line.status == FULL:
        if not is_its_own:
            return Manner.UNKNOWN, ""  # HAProxy's word
        is_full = line.status == FULL and not is_cloud(grant.model)
        return (Manner.FULL, f"answered {FULL}: its queue is full") if is_full else (Manner.DENIED, why)
    if line.status >= 500 and line.status not in CLIENTS_OWN:
        return Manner.ERRED, why
    return (Manner.BEGUN if line.status == 200 and is_its_own else Manner.UNKNOWN), ""


def changed_by(line: Line, specs: Mapping[str, InstanceSpec]) -> list[str]:
    """Return whose store a request shows to have changed: it changed it, or did not find what is on our list."""
    if line.kind is Kind.MANAGE:
        shows = 200 <= line.status < 300
    else:
        shows = line.kind in (Kind.INFERENCE, Kind.DESCRIBE) and line.status == 404
    if not shows:
        return []
    if line.server in specs:
        return [name for name, spec in specs.items() if spec.store == specs[line.server].store]
    # Several stores, by the door: perhaps that of an agent before this one, which tells nobody any more.
    return list(specs) if line.kind is Kind.MANAGE else []
