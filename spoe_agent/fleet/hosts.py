"""Whether two ways to write a host mean the same one."""

from __future__ import annotations

import ipaddress

from spoe_agent.fleet.units import WILDCARD_HOSTS


def canonical_host(host: str) -> str:
    """Return one way to write a host."""
    return "127.0.0.1" if host.lower() == "localhost" else host.lower()


def is_local(host: str) -> bool:
    """Tell whether this is surely an address of this machine."""
    try:
        return host in WILDCARD_HOSTS or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def same_host(host: str) -> str:
    """Return one way to write a host, the same for all loopback addresses."""
    found = canonical_host(host)
    return "127.0.0.1" if is_local(found) else found
