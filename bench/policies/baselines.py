"""The policies of the field that pick a server by simple counts: nginx, HAProxy, and the usual ideas.

Each chooses only among servers whose memory holds the model: whoever runs a mixed fleet gives models that fit only some
servers a backend of their own. The counts are over all of a server's requests, better than those of several backends.
"""

from __future__ import annotations

import math
import random
from collections import deque
from collections.abc import Callable, Iterable
from statistics import median

from spoe_agent.simulator.virtual.front import Front
from spoe_agent.simulator.virtual.policy import Assignment, Refusal, RoutingPolicy, Wait
from spoe_agent.simulator.virtual.requests import Request, RequestOutcome


class LeastConn(RoutingPolicy):
    """The server with fewest requests, round robin among equals: nginx `least_conn` and HAProxy `leastconn`.

    Servers at their limit are passed over; when all are, the request waits in the backend's queue.
    """

    def __init__(self) -> None:
        self._used_at: dict[int, int] = {}
        self._turn = 0

    def route(self, request: Request, front: Front, now_s: float) -> Assignment:
        return self.with_room(front.able(request.work.model), front)

    def with_room(self, servers: Iterable[int], front: Front) -> Assignment:
        """Choose among those of these servers that have room."""
        open_servers = [server for server in servers if front.has_room(server)]
        return self.least(open_servers, front) if open_servers else self.when_full()

    def when_full(self) -> Assignment:
        """Say what happens when no server has room."""
        return Wait.BACKEND

    def least(self, servers: Iterable[int], front: Front) -> int:
        """Return the least busy of these servers, and remember whose turn it was."""
        return self.cheapest(servers, front.inflight)

    def cheapest(self, servers: Iterable[int], cost: Callable[[int], float]) -> int:
        """Return the server of least cost, of equals the one whose turn it is, and remember that."""
        self._turn += 1
        chosen = min(servers, key=lambda server: (cost(server), self._used_at.get(server, 0)))
        self._used_at[chosen] = self._turn
        return chosen


class NginxLeastConn(LeastConn):
    """`least_conn` with `max_conns`: nginx has no queue, and answers 502 when every server is at its limit."""

    def when_full(self) -> Assignment:
        return Refusal(502)


class WarmFirst(LeastConn):
    """Among the instances that have the model, the least busy; else the least busy of all. No bound on load."""

    def route(self, request: Request, front: Front, now_s: float) -> Assignment:
        able = front.able(request.work.model)
        return self.least(self.warm(request, able, front) or able, front)

    @staticmethod
    def warm(request: Request, servers: Iterable[int], front: Front) -> list[int]:
        """Return those of these servers that have the model."""
        return [server for server in servers if request.work.model.name in front.resident[server]]


class WarmBounded(WarmFirst):
    """The same with a bound: instances with more in flight than a multiple of the mean, and some, are not preferred."""

    FACTOR, MORE = 1.5, 2

    def route(self, request: Request, front: Front, now_s: float) -> Assignment:
        able = front.able(request.work.model)
        bound = self.FACTOR * sum(map(front.inflight, able)) / len(able) + self.MORE
        warm = [server for server in self.warm(request, able, front) if front.inflight(server) < bound]
        return self.least(warm or able, front)


class Greedy(LeastConn):
    """Least of what requests in flight cost and what a load costs: a line of arithmetic for every server.

    A request in flight counts as part of the mean time of an answer so far, a load twice what the file takes at 3 GB/s.
    """

    PART, LOADS = 0.4, 2.0
    FIRST_SERVICE_S = 2.0
    """Until an answer was seen."""

    def __init__(self) -> None:
        super().__init__()
        self._service_s = 0.0
        self._answers = 0

    def route(self, request: Request, front: Front, now_s: float) -> Assignment:
        model = request.work.model
        each_s = self.PART * (self._service_s / self._answers if self._answers else self.FIRST_SERVICE_S)
        load_s = self.LOADS * (1.0 + model.size_bytes / 3e9)

        def cost(server: int) -> float:
            return front.inflight(server) * each_s + (0.0 if model.name in front.resident[server] else load_s)

        return self.cheapest(front.able(model), cost)

    def ended(self, record: RequestOutcome, front: Front, now_s: float) -> None:
        if record.served:
            self._service_s += record.e2e_s - record.load_wait_s
            self._answers += 1


class Random(RoutingPolicy):
    """Any server."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def route(self, request: Request, front: Front, now_s: float) -> Assignment:
        return self._random.choice(front.able(request.work.model))


class Prequal(RoutingPolicy):
    """Hot and cold lexicographic rule of Prequal (arXiv 2312.10172), with probes of every server at every request.

    Servers whose requests in flight exceed the quantile of what recent probes saw are hot. Among cold ones the lowest
    latency, else the fewest in flight. Latency is what the server reports: the median of its recent answers that came
    when about as many were in flight as are now.
    """

    QUANTILE = 0.84
    """2^-0.25, the paper's own."""
    PROBES = 128
    """How many readings the quantile is taken of."""
    ANSWERS = 64
    """How many a server remembers."""
    NEAREST = 9
    """Of how many the median is taken."""

    def __init__(self) -> None:
        self._answers: dict[int, deque[tuple[int, float]]] = {}
        """How many were in flight with each answer when it came in, and its latency."""
        self._sent: dict[int, int] = {}
        self._probes: deque[int] = deque(maxlen=self.PROBES)

    def route(self, request: Request, front: Front, now_s: float) -> Assignment:
        flying = {server: front.inflight(server) for server in front.able(request.work.model)}
        self._probes.extend(flying.values())
        limit = sorted(self._probes)[math.ceil(self.QUANTILE * len(self._probes)) - 1]
        cold = [server for server, count in flying.items() if count <= limit]
        chosen = min(cold or flying, key=lambda server: self._rank(server, flying[server], bool(cold)))
        self._sent[request.work.id] = flying[chosen]
        return chosen

    def _rank(self, server: int, count: int, is_cold: bool) -> tuple[float, int]:
        return (self._latency_s(server, count) if is_cold else 0.0, count)

    def _latency_s(self, server: int, count: int) -> float:
        answers = sorted(self._answers.get(server, ()), key=lambda answer: abs(answer[0] - count))
        return median(latency_s for _, latency_s in answers[: self.NEAREST]) if answers else 0.0

    def ended(self, record: RequestOutcome, front: Front, now_s: float) -> None:
        count = self._sent.pop(record.request.work.id, 0)
        if record.server is not None and record.served:
            answers = self._answers.setdefault(record.server, deque(maxlen=self.ANSWERS))
            answers.append((count, record.e2e_s))
