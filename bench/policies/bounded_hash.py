"""HAProxy's strongest affinity without an agent: consistent hash of the model, bounded load.

`balance hash` on the model, `hash-type consistent`, `hash-balance-factor 125` (HAProxy configuration manual; Mirrokni,
Thorup, Zadimoghaddam, arXiv 1608.01350). Servers that cannot hold the model are not in its backend (as in baselines).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from hashlib import blake2b

from spoe_agent.simulator.virtual.front import Front
from spoe_agent.simulator.virtual.requests import Request
from spoe_agent.simulator.virtual.router import Router, Verdict

BALANCE_FACTOR = 125
"""Per cent of the mean load that no server may exceed."""

POINTS_PER_SERVER = 16
"""On the ring, for a server of weight 1."""


class BoundedHash(Router):
    """The first server clockwise from the model's place on the ring that is below the bound."""

    def __init__(self, servers: int, salt: int) -> None:
        points = ((f"{salt} server {server} {point}", server) for server in range(servers) for point in _POINTS)
        ring = sorted((_place(text), server) for text, server in points)
        self._salt = salt
        self._places = [place for place, _ in ring]
        self._owners = [server for _, server in ring]

    def route(self, request: Request, front: Front, now_s: float) -> Verdict:
        start = bisect_right(self._places, _place(f"{self._salt} key {request.work.model.name}"))
        owners, backend = self._owners, front.able(request.work.model)
        for step in range(len(owners)):
            server = owners[(start + step) % len(owners)]
            if server in backend and front.served[server] < self._slots(server, backend, front):
                return server
        raise AssertionError("the bounds add up to more than the requests in flight")

    @staticmethod
    def _slots(server: int, backend: Sequence[int], front: Front) -> int:
        """The server's part of 125 % of all requests, this one included; the remainder goes round by position."""
        count = len(backend)
        place = backend.index(server)
        total = -(-(sum(front.served[one] for one in backend) + 1) * BALANCE_FACTOR // 100)
        return max(1, (place + 1) * total // count - place * total // count)


_POINTS = range(POINTS_PER_SERVER)


def _place(text: str) -> int:
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest())
