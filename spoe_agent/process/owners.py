"""Who has an address, for the message that it is taken.

Only what this user may see is found: other users' processes have an address without a name. Of a foreign process only
its name is told, because command lines may hold secrets.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import psutil

from spoe_agent.fleet import Listen
from spoe_agent.fleet.hosts import canonical_host
from spoe_agent.fleet.units import WILDCARD_HOSTS

_HAPROXY = re.compile(r"haproxy(-[\w.]+)?")


@dataclass(frozen=True, slots=True)
class Owner:
    """A process that has an address."""

    pid: int
    program: str
    """Its name; "" when it cannot be told."""
    is_agent: bool = False
    is_haproxy: bool = False

    def __str__(self) -> str:
        if self.is_agent:
            return f"another Pointsman agent, process {self.pid}"
        return f"process {self.pid}" + (f" ({self.program})" if self.program else "")


def owners(listen: Listen, kind: socket.SocketKind = socket.SOCK_STREAM) -> list[Owner]:
    """Return who has an address, agents first. A socket may be several processes': an agent's guard has a copy of one,
    and each of HAProxy's workers.
    """
    if not _is_there(psutil.net_connections(_of_kind(listen)), listen, kind):
        return []  # the usual case; to look at each process takes long
    found = [_described(process) for process in psutil.process_iter() if _has(process, listen, kind)]
    return sorted(found, key=lambda one: not one.is_agent)


def owner(listen: Listen, kind: socket.SocketKind) -> str:
    """Return the first of them: "another Pointsman agent, process 4711", or "" when that cannot be found out."""
    return next(map(str, owners(listen, kind)), "")


def process_at(listen: Listen) -> psutil.Process | None:
    """Return the process that listens at a TCP address, as far as this user may see."""
    for process in psutil.process_iter():
        if _has(process, listen, socket.SOCK_STREAM):
            return process
    return None


def _has(process: psutil.Process, listen: Listen, kind: socket.SocketKind) -> bool:
    with suppress(OSError, psutil.Error):
        return _is_there(process.net_connections(_of_kind(listen)), listen, kind)
    return False


def _of_kind(listen: Listen) -> str:
    return "unix" if listen.path else "inet"


def _is_there(connections: Iterable[Any], listen: Listen, kind: socket.SocketKind) -> bool:
    """Tell whether one of psutil's connections has an address."""
    # A connected TCP socket has its address beside the one that listens; UDP has no state.
    return any(
        one.type == kind
        and (kind is not socket.SOCK_STREAM or listen.path or one.status == psutil.CONN_LISTEN)
        and _is_at(one.laddr, listen)
        for one in connections
    )


def _is_at(address: Any, listen: Listen) -> bool:
    """`address`: a path, or host and port; empty for a socket that has none."""
    if listen.path or not address:
        return bool(address == listen.path)
    return address.port == listen.port and _collide(address.ip, canonical_host(listen.host))


def _collide(one: str, other: str) -> bool:
    """Tell whether two hosts cannot both have a port. Every host of IPv6 is every host of IPv4 too, by default."""
    if one == other or "::" in (one, other):
        return True
    return bool({one, other} & WILDCARD_HOSTS) and len({ip_address(host).version for host in _numbers(one, other)}) == 1


def _numbers(*hosts: str) -> Iterator[str]:
    """Give the hosts that are numbers: a name may be of either kind."""
    for host in hosts:
        with suppress(ValueError):
            yield str(ip_address(host))


def _described(process: psutil.Process) -> Owner:
    with suppress(psutil.Error):
        words = process.cmdline()
        ours = any(word == "spoe_agent" or word.endswith("/pointsman") for word in words[:3])
        program = Path(words[0]).name if words else process.name()
        # A loader may stand in front of it.
        is_haproxy = any(_HAPROXY.fullmatch(Path(word).name) for word in words[:5])
        return Owner(process.pid, program, ours and "serve" in words, is_haproxy)
    return Owner(process.pid, "")
