"""HAProxy's strongest affinity without an agent: consistent hash of the model, bounded load.

`balance hash` on the model, `hash-type consistent`, `hash-balance-factor 125` (HAProxy configuration manual; Mirrokni,
Thorup, Zadimoghaddam, arXiv 1608.01350). Servers that cannot hold the model are not in its backend (as in baselines).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

from spoe_agent.simulator.virtual.front import Front
from spoe_agent.simulator.virtual.policy import Assignment, RoutingPolicy
from spoe_agent.simulator.virtual.requests import Request


@dataclass(frozen=True, slots=True)
class Ring:
    """How the hash is configured; the defaults are what the manual suggests."""

    balance_factor: int = 125
    """Per cent of the mean load that no server may exceed."""
    points: int = 16
    """On the ring, for each server: HAProxy has 16 for a server of weight 1, and as many times more as it weighs."""


USUAL = Ring()
TUNED = Ring(balance_factor=250, points=1600)
"""Of weight 100. Looser, so that a popular model has fewer homes; and models are spread more evenly."""


class BoundedHash(RoutingPolicy):
    """The first server clockwise from the model's place on the ring that is below the bound."""

    def __init__(self, servers: int, salt: int, configured: Ring = USUAL) -> None:
        numbers = range(configured.points)
        points = ((f"{salt} server {server} {point}", server) for server in range(servers) for point in numbers)
        ring = sorted((_place(text), server) for text, server in points)
        self._salt = salt
        self._factor = configured.balance_factor
        self._places = [place for place, _ in ring]
        self._owners = [server for _, server in ring]

    def route(self, request: Request, front: Front, now_s: float) -> Assignment:
        start = bisect_right(self._places, _place(f"{self._salt} key {request.work.model.name}"))
        owners, backend = self._owners, front.able(request.work.model)
        for step in range(len(owners)):
            server = owners[(start + step) % len(owners)]
            if server in backend and front.served[server] < self._slots(server, backend, front):
                return server
        raise AssertionError("the bounds add up to more than the requests in flight")

    def _slots(self, server: int, backend: Sequence[int], front: Front) -> int:
        """The server's part of all requests times the factor, this one too; the remainder goes round by position."""
        count = len(backend)
        place = backend.index(server)
        total = -(-(sum(front.served[one] for one in backend) + 1) * self._factor // 100)
        return max(1, (place + 1) * total // count - place * total // count)


def _place(text: str) -> int:
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest())
