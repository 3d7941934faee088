"""One fleet, one policy, one workload, on one virtual clock.

The order of things is by time alone; at the same instant instances come before clients' timers, timers before
arrivals. Must not live here: policies, the front's rules, figures.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum

from spoe_agent.benchmark.front import Front
from spoe_agent.benchmark.requests import CLIENT_LEFT, SERVED, Record, Request
from spoe_agent.benchmark.router import Refusal, Router, Verdict, Wait
from spoe_agent.simulator import InstanceProfile, Scheduler
from spoe_agent.simulator.work import (
    Event,
    Finished,
    FirstToken,
    Kind,
    LoadAborted,
    Loaded,
    LoadStarted,
    Rejected,
    Unloading,
    UnloadReason,
    Work,
)

TIMEOUT_S = 600.0
"""Upstream timeout, the same for every policy: so long without a first token, and the client gets 504."""

UNDONE_S = 60.0
"""A model that is loaded again on the instance that evicted it less than this before was evicted in vain."""


@dataclass(slots=True)
class Outcome:
    """All that one run left."""

    records: list[Record] = field(default_factory=list)
    """In order of arrival."""
    loads: list[tuple[float, float]] = field(default_factory=list)
    """When each load that took time ended, and its seconds."""
    unloads: int = 0
    undone: int = 0
    """Loads of a model less than `UNDONE_S` after the same instance evicted it."""
    finished_at_s: float = 0.0


class _Timer(IntEnum):
    POLL = 0
    LEAVE = 1


class Simulation:
    """Runs a workload through a policy. Used once.

    Args:
        instances: the fleet.
        limits: `maxconn` of each server; None: no limit.
        requests: ordered by time, with ids that count up.
        router: the policy.
    """

    def __init__(
        self,
        instances: Sequence[InstanceProfile],
        limits: Sequence[int | None],
        requests: Sequence[Request],
        router: Router,
    ) -> None:
        self._schedulers = [Scheduler(profile) for profile in instances]
        self._next_at_s = [math.inf for _ in instances]
        self._front = Front(limits)
        self._requests = requests
        self._router = router
        self._unloads = 0
        self._records: dict[int, Record] = {}
        self._held: dict[int, Record] = {}
        self._timers: list[tuple[float, int, int]] = []
        self._patience: deque[Record] = deque()
        self._let_through: deque[tuple[Record, int]] = deque()
        self._evicted_at_s: dict[tuple[int, str], float] = {}
        self._outcome = Outcome()

    def run(self) -> Outcome:
        """Let everything happen until every request has ended."""
        self._start_polling()
        for request in self._requests:
            self._pass_time(request.at_s)
            self._arrive(request)
        while self._records:
            self._pass_time(math.inf)
        return self._outcome

    def _start_polling(self) -> None:
        interval_s = self._router.poll_interval_s
        if interval_s is None:
            return
        count = len(self._schedulers)
        for server in self._front.servers:
            self._poll(server, 0.0)
            heapq.heappush(self._timers, (interval_s * (server + 1) / count, _Timer.POLL, server))

    def _pass_time(self, until_s: float) -> None:
        """Let everything happen that comes before the next arrival; without one, until nothing is in flight."""
        next_at_s = self._next_at_s
        while True:
            instance_at_s = min(next_at_s)
            timer_at_s = self._next_timer_at_s()
            if min(instance_at_s, timer_at_s) > until_s or (until_s == math.inf and not self._records):
                return
            if instance_at_s <= timer_at_s:
                self._advance(next_at_s.index(instance_at_s), instance_at_s)
            else:
                self._fire(timer_at_s)
            self._settle(min(instance_at_s, timer_at_s))

    def _next_timer_at_s(self) -> float:
        while self._patience and (self._patience[0].status or self._patience[0].first_at_s is not None):
            self._patience.popleft()
        silent_at_s = self._patience[0].request.at_s + TIMEOUT_S if self._patience else math.inf
        return min(silent_at_s, self._timers[0][0] if self._timers else math.inf)

    def _fire(self, now_s: float) -> None:
        if not self._timers or self._timers[0][0] > now_s:
            self._abandon(self._patience.popleft(), 504, now_s)
            return
        _, kind, number = heapq.heappop(self._timers)
        if kind == _Timer.LEAVE:
            record = self._records.get(number)
            if record is not None:
                self._abandon(record, CLIENT_LEFT, now_s)
            return
        self._poll(number, now_s)
        heapq.heappush(self._timers, (now_s + (self._router.poll_interval_s or math.inf), _Timer.POLL, number))
        self._grant(now_s)

    def _poll(self, server: int, now_s: float) -> None:
        self._router.polled(server, self._schedulers[server].ps(now_s), now_s)

    def _arrive(self, request: Request) -> None:
        record = Record(request)
        self._outcome.records.append(record)
        self._records[request.work.id] = record
        self._patience.append(record)
        if request.patience_s is not None:
            heapq.heappush(self._timers, (request.at_s + request.patience_s, _Timer.LEAVE, request.work.id))
        self._follow(record, self._router.route(request, self._front, request.at_s), request.at_s)
        self._settle(request.at_s)

    def _follow(self, record: Record, verdict: Verdict, now_s: float) -> None:
        """Do what the policy says."""
        if verdict is Wait.BACKEND:
            self._front.central.append(record)
        elif verdict is Wait.ROUTER:
            self._held[record.request.work.id] = record
        elif isinstance(verdict, Refusal):
            self._close(record, verdict.status, now_s)
        elif isinstance(verdict, int) and self._front.admit(record, verdict):
            self._let_through.append((record, verdict))

    def _grant(self, now_s: float) -> None:
        while self._held:
            granted = list(self._router.grants(self._front, now_s))
            for number, verdict in granted:
                self._follow(self._held.pop(number), verdict, now_s)
            if not granted:
                return

    def _settle(self, now_s: float) -> None:
        """Submit what the front let through. Apart from its causes, so that refusals in a row do not nest."""
        while self._let_through:
            record, server = self._let_through.popleft()
            for model in self._router.unloads(record):
                self._unloads -= 1
                unload = Work(self._unloads, model, Kind.UNLOAD, keep_alive_s=0.0)
                self._schedulers[server].submit(unload, now_s)
            self._schedulers[server].submit(record.request.work, now_s)
            self._advance(server, now_s)

    def _advance(self, server: int, now_s: float) -> None:
        scheduler = self._schedulers[server]
        for event in scheduler.advance(now_s):
            self._take(server, event)
        at_s = scheduler.next_event_at()
        self._next_at_s[server] = math.inf if at_s is None else at_s

    def _take(self, server: int, event: Event) -> None:
        """Note one event of an instance."""
        if isinstance(event, FirstToken):
            self._records[event.id].first_at_s = event.at_s
        elif isinstance(event, Finished) and event.kind is not Kind.UNLOAD:
            record = self._records[event.id]
            record.load_wait_s = event.durations.load_s
            self._end(record, SERVED, event.at_s)
        elif isinstance(event, Rejected):
            self._end(self._records[event.id], event.status, event.at_s)
        elif isinstance(event, LoadStarted):
            self._front.resident[server].add(event.model.name)
            evicted_at_s = self._evicted_at_s.get((server, event.model.name), -math.inf)
            self._outcome.undone += event.at_s - evicted_at_s < UNDONE_S
        elif isinstance(event, Loaded) and event.load_s > 0:
            self._outcome.loads.append((event.at_s, event.load_s))
        elif isinstance(event, (Unloading, LoadAborted)):
            self._front.resident[server].discard(event.model.name)
            self._outcome.unloads += 1
            if isinstance(event, Unloading) and event.reason in (UnloadReason.EVICTED, UnloadReason.ASKED):
                self._evicted_at_s[server, event.model.name] = event.at_s

    def _end(self, record: Record, status: int, now_s: float) -> None:
        """A request on an instance ended; the next in the queue takes its place."""
        server = record.server
        assert server is not None
        self._close(record, status, now_s)
        following = self._front.release(server)
        self._router.ended(record, self._front, now_s)
        if following is not None:
            self._let_through.append((following, server))
        self._grant(now_s)

    def _abandon(self, record: Record, status: int, now_s: float) -> None:
        """The client left, or the front gave up: wherever the request is, it goes away."""
        number = record.request.work.id
        if self._held.pop(number, None) is not None or self._front.leave(record):
            self._close(record, status, now_s)
            self._router.ended(record, self._front, now_s)
            self._grant(now_s)
            return
        server = record.server
        assert server is not None
        self._schedulers[server].cancel(number, now_s)
        self._end(record, status, now_s)
        self._advance(server, now_s)

    def _close(self, record: Record, status: int, now_s: float) -> None:
        record.status, record.ended_at_s = status, now_s
        self._outcome.finished_at_s = now_s
        del self._records[record.request.work.id]
