"""The addresses that HAProxy listens on for a fleet, and who is in its way there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress

from pydantic import TypeAdapter, ValidationError

from spoe_agent.fleet import Fleet, Listen
from spoe_agent.fleet.units import TcpListen
from spoe_agent.process.listening import ListenerAddress
from spoe_agent.process.owners import Owner, owners

_BIND = re.compile(r"^\s+(?:bind|peer \S+) (\S+)", re.MULTILINE)
_LISTEN = TypeAdapter(TcpListen)


def fronts(fleet: Fleet) -> Iterator[ListenerAddress]:
    """Return every address of HAProxy's, the one where clients connect first. At the others it is its own client."""
    yield ListenerAddress("front", fleet.listeners.front)
    yield ListenerAddress("again", fleet.listeners.again)
    if fleet.keys is not None:
        yield ListenerAddress("peers", fleet.listeners.peers)
    for instance in fleet.instances:
        if instance.onward is not None:
            yield ListenerAddress("onward", instance.onward)


def listening(config: str) -> list[Listen]:
    """Return the same of a haproxy.cfg that was rendered, in the same order, but for what was written by hand."""
    found: list[Listen] = []
    for bind in _BIND.findall(config):
        with suppress(ValidationError):
            found.append(_LISTEN.validate_python(bind))
    return found


def in_the_way(fleet: Fleet, running: str) -> list[str]:
    """Return each address, new to HAProxy, that others have, with their names; only those whom this user may see.

    `running`: the haproxy.cfg that HAProxy runs with. Who listens on its addresses is that HAProxy, or who passes on
    to it. Another HAProxy is in the way: two share a port without a word, and each gets some of the connections.
    """
    known = listening(running)
    own = {one.pid for listen in known for one in owners(listen) if one.is_haproxy}
    refused = []
    for address in fronts(fleet):
        found = [] if address.listen in known else owners(address.listen)
        others = [str(one) for one in found if _is_other(one, own)]
        if others:
            refused.append(f"{address} is taken by {', '.join(others)}")
    return refused


def _is_other(one: Owner, own: set[int]) -> bool:
    """Docker's own program has the ports of this host that lead to a HAProxy in a container."""
    if one.is_haproxy:
        return bool(own) and one.pid not in own
    return one.program != "docker-proxy"
