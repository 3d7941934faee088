"""The policies of the field that pick a server by simple counts: nginx, HAProxy, and the usual ideas.

Each chooses only among servers whose memory holds the model: whoever runs a mixed fleet gives models that fit only some
servers a backend of their own. The counts are over all of a server's requests, better than those of several backends.
"""

from __future__ import annotations

import math
import random
from collections import deque
from collections.abc import Iterable

from spoe_agent.simulator.virtual.front import Front
from spoe_agent.simulator.virtual.requests import Record, Request
from spoe_agent.simulator.virtual.router import Refusal, Router, Verdict, Wait


class LeastConn(Router):
    """The server with fewest requests, round robin among equals: nginx `least_conn` and HAProxy `leastconn`.

    Servers at their limit are passed over; when all are, the request waits in the backend's queue.
    """

    def __init__(self) -> None:
        self._used_at: dict[int, int] = {}
        self._turn = 0

    def route(self, request: Request, front: Front, now_s: float) -> Verdict:
        return self.with_room(front.able(request.work.model), front)

    def with_room(self, servers: Iterable[int], front: Front) -> Verdict:
        """Choose among those of these servers that have room."""
        open_servers = [server for server in servers if front.has_room(server)]
        return self.least(open_servers, front) if open_servers else self.when_full()

    def when_full(self) -> Verdict:
        """Say what happens when no server has room."""
        return Wait.BACKEND

    def least(self, servers: Iterable[int], front: Front) -> int:
        """Return the least busy of these servers, and remember whose turn it was."""
        self._turn += 1
        chosen = min(servers, key=lambda server: (front.inflight(server), self._used_at.get(server, 0)))
        self._used_at[chosen] = self._turn
        return chosen


class NginxLeastConn(LeastConn):
    """`least_conn` with `max_conns`: nginx has no queue, and answers 502 when every server is at its limit."""

    def when_full(self) -> Verdict:
        return Refusal(502)


class WarmFirst(LeastConn):
    """Among the instances that have the model, the least busy; else the least busy of all. No bound on load."""

    def route(self, request: Request, front: Front, now_s: float) -> Verdict:
        able = front.able(request.work.model)
        warm = [server for server in able if request.work.model.name in front.resident[server]]
        return self.least(warm or able, front)


class Random(Router):
    """Any server."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def route(self, request: Request, front: Front, now_s: float) -> Verdict:
        return self._random.choice(front.able(request.work.model))


class Prequal(Router):
    """Hot and cold lexicographic rule of Prequal (arXiv 2312.10172), with probes of every server at every request.

    Servers whose requests in flight exceed the quantile of what recent probes saw are hot. Among cold ones the lowest
    latency, else the fewest in flight. Latency is a moving average, as the server itself would report it.
    """

    QUANTILE = 0.8
    PROBES = 128
    """How many readings the quantile is taken of."""
    MEMORY = 0.9
    """Weight of the old average when a request ends."""

    def __init__(self) -> None:
        self._latency_s: dict[int, float] = {}
        self._probes: deque[int] = deque(maxlen=self.PROBES)

    def route(self, request: Request, front: Front, now_s: float) -> Verdict:
        flying = {server: front.inflight(server) for server in front.able(request.work.model)}
        self._probes.extend(flying.values())
        limit = sorted(self._probes)[math.ceil(self.QUANTILE * len(self._probes)) - 1]
        cold = [server for server, count in flying.items() if count <= limit]
        if not cold:
            return min(flying, key=lambda server: flying[server])
        return min(cold, key=lambda server: (self._latency_s.get(server, 0.0), flying[server]))

    def ended(self, record: Record, front: Front, now_s: float) -> None:
        if record.server is not None and record.served:
            before_s = self._latency_s.get(record.server, record.e2e_s)
            self._latency_s[record.server] = self.MEMORY * before_s + (1 - self.MEMORY) * record.e2e_s
