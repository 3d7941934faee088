"""Web pages of foreign origins, and requests under a foreign host name: who may come, as Ollama has it.

Ollama guards itself by `Origin` and `Host` (gin-contrib/cors, server/routes.go allowedHostsMiddleware); neither reaches
it from here, so the door does it. haproxy.cfg follows the same rules, from the lists that are given here.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from ipaddress import IPv6Address, ip_address, ip_network

from spoe_agent.routing import Reason

LOCAL_NAME = "localhost"
LOCAL_SUFFIXES = (".localhost", ".local", ".internal")
LOCAL_NETWORKS = (
    *("127.0.0.0/8", "::1/128"),  # loopback
    *("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"),  # private, as Go's netip has it
    *("0.0.0.0/32", "::/128"),  # unspecified
)
"""Addresses under which Ollama answers: a page cannot make one of these its own name."""
FOREIGN_ORIGIN, FOREIGN_HOST = Reason.FOREIGN_ORIGIN, Reason.FOREIGN_HOST
SHOWN = 200
"""Characters of a caller's own text that a refusal repeats."""

_NETWORKS = tuple(ip_network(network) for network in LOCAL_NETWORKS)
_PORT = re.compile(r":[^:\]]*$")


def glob_regex(glob: str) -> str:
    """Return an allowed origin or host (`http://localhost:*`, `*.example.com`) as a regex; `*` is anything."""
    return "^" + ".*".join(re.escape(part) for part in glob.lower().split("*")) + "$"


def host_name(header: str) -> str:
    """Return what a `Host` header names, without its port and in lower case."""
    return _PORT.sub("", header.strip()).strip("[]").lower()


def is_known(host: str, own: Sequence[str], allowed: Sequence[str]) -> bool:
    """Tell whether this server goes by a host name (of `host_name`). Without one nobody asks for a wrong one.

    Args:
        own: this machine's name, and the address that the client connected to.
        allowed: names of the fleet file, `*` for any part.
    """
    if host in ("", LOCAL_NAME, *(one.lower() for one in own)) or host.endswith(LOCAL_SUFFIXES) or _is_local(host):
        return True
    return any(re.match(glob_regex(one), host) for one in allowed)


def _is_local(host: str) -> bool:
    try:
        address = ip_address(host)
    except ValueError:
        return False
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return any(address in network for network in _NETWORKS)


def may_call(origin: str, host_header: str, host_is_known: bool, allowed: Sequence[str]) -> bool:
    """Tell whether a page of this origin ("" for no page) may call: an allowed one, or one of this very server."""
    if not origin or any(re.match(glob_regex(one), origin.lower()) for one in allowed):
        return True
    return host_is_known and is_same(origin, host_header)


def is_same(origin: str, host_header: str) -> bool:
    """Tell whether a page came from where its request goes. Its browser then needs no leave, and gets no header."""
    return origin.lower() in (f"http://{host_header.lower()}", f"https://{host_header.lower()}")
