"""Which of Pointsman's ports could be reached without a key that is good."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

from spoe_agent.fleet.problems import Finding
from spoe_agent.fleet.schema import FleetDraft
from spoe_agent.fleet.units import Listen

_DOES = {
    "spop": "asks for slots in anybody's name",
    "log": "can say that requests ended",
    "check": "sees every instance's limit",
    "admin": "can drain instances",
    "door": "sees every model",
    "onward": "gets past the front",
    "again": "gets past the front, under anybody's address",
    "peers": "can say how many requests a key made",
}
"""What whoever reaches a port does there."""


def exposed(fleet: FleetDraft) -> Iterator[Finding]:
    """These ports know no passwords: they leave this host only where the file says that those around it are trusted."""
    if fleet.listeners.trusted_network:
        return
    for key, does in _DOES.items():
        value = getattr(fleet.listeners, key)
        for listen in value if isinstance(value, tuple) else (value,):
            if not _stays_here(listen):
                message = f"{listen} can be reached from other hosts, and whoever reaches it {does}, without a password"
                hint = (
                    f"write 127.0.0.1:{listen.port}, or trusted_network: true beside it if you trust all who reach it"
                )
                yield Finding(("listeners", key), message, hint, depends=(("listeners", "trusted_network"),))


def open_front(fleet: FleetDraft) -> Iterator[Finding]:
    """Ollama has no authentication: what the network reaches asks for a key, unless the file says that it need not."""
    front = fleet.listeners.front
    if fleet.keys is not None or fleet.listeners.insecure or _stays_here(front):
        return
    message = f"{front} can be reached from other hosts, and whoever reaches it may use, pull and delete every model"
    hint = "write keys: {file: /etc/pointsman/keys/keys.json} and make some (pointsman key add NAME), "
    hint += f"or 127.0.0.1:{front.port}; or insecure: true beside it if you trust all who reach it"
    rests_on = ("listeners", "insecure"), ("keys",)
    yield Finding(("listeners", "front"), message, hint, depends=rests_on)


def lasting_keys(fleet: FleetDraft) -> Iterator[Finding]:
    """Who is revoked in HAProxy's memory alone is back at its next start."""
    if fleet.keys is None or not fleet.haproxy.runtime or fleet.haproxy.files is not None:
        return
    message = "keys are changed in HAProxy's memory alone, so its next start or reload takes who was revoked again"
    hint = "write haproxy.files beside it: the folder of HAProxy's files, like /etc/pointsman/haproxy"
    yield Finding(("haproxy", "runtime"), message, hint, depends=(("haproxy", "files"), ("keys",)))


def _stays_here(listen: Listen) -> bool:
    try:
        return listen.path is not None or ipaddress.ip_address(listen.host).is_loopback
    except ValueError:
        return listen.host.lower() == "localhost"
