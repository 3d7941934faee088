"""How HAProxy finds a server that the fleet file names: nothing for an address, more for a name."""

from __future__ import annotations

from pathlib import Path

from spoe_agent.fleet.urls import is_name

HOSTS = Path("/etc/hosts")
RESOLVERS = "pointsman_dns"

_AT_START = "init-addr last,libc,none"
"""A name that nobody knows when HAProxy starts must not keep it from starting."""

_FOLLOWED = f"resolvers {RESOLVERS} resolve-prefer ipv4"
"""Ollama listens on IPv4 unless it is told otherwise."""


def in_hosts_file(path: Path = HOSTS) -> frozenset[str]:
    """Return the names that this host knows without asking: DNS servers do not, and HAProxy asks only those later."""
    try:
        lines = path.read_text(errors="replace").splitlines()
    except OSError:
        return frozenset({"localhost"})
    words = (line.partition("#")[0].lower().split()[1:] for line in lines)
    return frozenset({"localhost"}.union(*words))


def server_options(host: str, in_hosts: frozenset[str]) -> str:
    """Return what a `server` line needs for its host, with a space before it."""
    if not is_name(host):
        return ""
    return f" {_AT_START}" if host.lower() in in_hosts else f" {_AT_START} {_FOLLOWED}"
