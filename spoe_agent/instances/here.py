"""Which instances are this machine's: those that may be started here."""

from __future__ import annotations

import psutil

from spoe_agent.fleet import Fleet, Instance


def here(fleet: Fleet) -> list[Instance]:
    """Return the instances whose urls are addresses of this machine. What is behind a proxy is its own affair."""
    own = {address.address.partition("%")[0] for card in psutil.net_if_addrs().values() for address in card}
    return [one for one in fleet.instances if one.onward is None and (one.is_here or one.host in own)]
