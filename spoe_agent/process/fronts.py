"""The addresses that HAProxy listens on for a fleet, and who is in its way there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress

from pydantic import TypeAdapter, ValidationError

from spoe_agent.fleet import Fleet, Listen
from spoe_agent.fleet.units import TcpListen
from spoe_agent.process.listening import Place
from spoe_agent.process.owners import owners

_BIND = re.compile(r"^\s+bind (\S+)", re.MULTILINE)
_LISTEN = TypeAdapter(TcpListen)


def fronts(fleet: Fleet) -> Iterator[Place]:
    """Return every address of HAProxy's, the one where clients connect first. At the others it is its own client."""
    yield Place("front", fleet.listeners.front)
    yield Place("again", fleet.listeners.again)
    for instance in fleet.instances:
        if instance.onward is not None:
            yield Place("onward", instance.onward)


def listening(config: str) -> list[Listen]:
    """Return the same of a haproxy.cfg that was rendered, in the same order, but for what was written by hand."""
    found: list[Listen] = []
    for bind in _BIND.findall(config):
        with suppress(ValidationError):
            found.append(_LISTEN.validate_python(bind))
    return found


def in_the_way(fleet: Fleet, running: str) -> list[str]:
    """Return each address that others have, with their names; only those whom this user may see.

    `running`: the haproxy.cfg that HAProxy runs with. Who listens on its addresses is that HAProxy, and not in its own
    way. Another one is: two share a port without a word, and each gets some of the connections.
    """
    known = {listen: owners(listen) for listen in listening(running)}
    own = {one.pid for found in known.values() for one in found if one.is_haproxy}
    refused = []
    for place in fronts(fleet):
        found = known.get(place.listen) or owners(place.listen)
        others = [str(one) for one in found if not one.is_haproxy or (own and one.pid not in own)]
        if others:
            refused.append(f"{place} is taken by {', '.join(others)}")
    return refused
