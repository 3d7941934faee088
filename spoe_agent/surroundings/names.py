"""Whether the names in a fleet file lead anywhere from here, and whether HAProxy would find that out too."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

from spoe_agent.fleet import Fleet
from spoe_agent.fleet.problems import Finding, Path
from spoe_agent.fleet.urls import is_name
from spoe_agent.haproxy.names import in_hosts_file

DEADLINE_S = 5.0
"""A DNS server that does not answer is asked again for longer than anybody waits for a check."""

_AT_START = ("front", "log", "check", "admin", "door")
"""Listeners whose names must be known when HAProxy or the agent starts."""

Lookup = Callable[[str], str]
"""From a name to its full form; raises OSError."""


def canonical_name(name: str) -> str:
    """Look a name up as every program of this host does."""
    return socket.getaddrinfo(name, None, flags=socket.AI_CANONNAME)[0][3]


def doubtful_names(
    fleet: Fleet,
    lookup: Lookup = canonical_name,
    known: frozenset[str] | None = None,
    deadline_s: float = DEADLINE_S,
) -> list[Finding]:
    """Return what is wrong with names, by place in the file. `known`: names that need no DNS; None: /etc/hosts."""
    places = [(path, host) for path, host in _hosts(fleet) if is_name(host)]
    in_hosts = in_hosts_file() if known is None else known
    found = _looked_up({host for _, host in places}, lambda host: _wrong(host, lookup, in_hosts), deadline_s)
    return [Finding(path, f"{host} {found[host]}", _hint(path)) for path, host in places if found[host]]


def _hosts(fleet: Fleet) -> Iterator[tuple[Path, str]]:
    for key in _AT_START:
        yield ("listeners", key), getattr(fleet.listeners, key).host or "::"
    for section, listens in (("listeners", fleet.listeners.spop), ("haproxy", fleet.haproxy.spop or ())):
        for listen in listens:
            yield (section, "spop"), listen.host or "::"
    for index, instance in enumerate(fleet.instances):
        yield ("instances", index, "url"), instance.host
    for index, source in enumerate(fleet.telemetry.sources):
        yield ("telemetry", "sources", index, "url"), urlsplit(source.url).hostname or ""


def _hint(path: Path) -> str:
    if path[0] == "listeners" and path[1] in _AT_START:
        return "while it is so, nobody can start who needs it"
    return "nothing goes there until it is"


def _looked_up(hosts: set[str], wrong: Callable[[str], str], deadline_s: float) -> dict[str, str]:
    """Look all names up at once; return what is wrong with each, "" where nothing is."""
    found = dict.fromkeys(hosts, f"was not found within {deadline_s:g} s")

    def look(host: str) -> None:
        found[host] = wrong(host)

    threads = [threading.Thread(target=look, args=(host,), daemon=True) for host in hosts]
    for thread in threads:
        thread.start()
    until_s = time.monotonic() + deadline_s
    for thread in threads:
        thread.join(max(0.0, until_s - time.monotonic()))
    return dict(found)


def _wrong(host: str, lookup: Lookup, known: frozenset[str]) -> str:
    try:
        full = lookup(host)
    except OSError as error:
        return f"is not known here: {error.strerror or error}"
    if host.lower() in known:
        return ""
    try:
        lookup(f"{host}.")  # a name with a dot at its end is full already
    except OSError:
        return f"is found by a search domain only, which HAProxy does not know; write its full name ({full})"
    return ""
