"""One fleet, one policy, one workload, on one virtual clock.

The order of things is by time alone; at the same instant instances come before clients' timers, timers before arrivals.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from enum import IntEnum

from spoe_agent.simulator import InstanceProfile
from spoe_agent.simulator.host import Host
from spoe_agent.simulator.virtual.faults import VirtualInstance
from spoe_agent.simulator.virtual.front import Front
from spoe_agent.simulator.virtual.outcome import OutcomeRecorder, SimulationOutcome
from spoe_agent.simulator.virtual.policy import Assignment, Refusal, RoutingPolicy, Wait
from spoe_agent.simulator.virtual.requests import CLIENT_LEFT, SERVED, TIMED_OUT, Request, RequestOutcome
from spoe_agent.simulator.work import Event, Finished, FirstToken, Rejected, Task, Work

TIMEOUT_S = 600.0
"""Upstream timeout, the same for every policy: so long without a first token, and the client gets 504."""


class Timer(IntEnum):
    """What `number` is in brackets; of a moment the first kind comes first."""

    POLL = 0
    """(server)"""
    LEAVE = 1
    """A client's patience is over (request)."""
    PROBE = 2
    """A probe was not answered in time (probe)."""
    CHECK = 3
    """HAProxy's health check (server)."""
    FAULT = 4
    """(1: it begins, 0: it ends)"""
    ASK = 5
    """A user has thought enough (request that has ended)."""


class Simulation:
    """Runs a workload through a policy. Used once.

    Args:
        instances: the fleet.
        limits: `maxconn` of each server; None: no limit.
        requests: ordered by time, with ids that count up, those that come after others among them.
        policy: who decides.
    """

    def __init__(
        self,
        instances: Sequence[InstanceProfile],
        limits: Sequence[int | None],
        requests: Sequence[Request],
        policy: RoutingPolicy,
    ) -> None:
        host = Host()
        for model in policy.cached():
            host.read(model)
        seeded = (replace(profile, seed=profile.seed + number) for number, profile in enumerate(instances))
        self._instances = [VirtualInstance(profile, host) for profile in seeded]
        self._next_at_s = [math.inf for _ in instances]
        self._front = Front(limits, instances)
        self._requests = [request for request in requests if request.after is None]
        self._next = {request.after: request for request in requests if request.after is not None}
        self._thinking = 0
        self._policy = policy
        self._own = 0
        self._probes: dict[int, int] = {}
        self._records: dict[int, RequestOutcome] = {}
        self._held: dict[int, RequestOutcome] = {}
        self._timers: list[tuple[float, int, int]] = []
        self._patience: deque[RequestOutcome] = deque()
        self._let_through: deque[tuple[RequestOutcome, int]] = deque()
        self._recorder = OutcomeRecorder(self._front.resident)
        self._outcome = self._recorder.outcome

    def run(self) -> SimulationOutcome:
        """Let everything happen until every request has ended."""
        self._preload()
        self._start_polling()
        for request in self._requests:
            self._pass_time(request.at_s)
            self._arrive(request)
        while self._records or self._thinking:
            self._pass_time(math.inf)
        return self._outcome

    def _preload(self) -> None:
        for server, models in enumerate(self._policy.preloads()):
            for model in models:
                work = Work(0, model, Task.PRELOAD, keep_alive_s=self._policy.preload_keep_alive_s)
                self._ask(server, work, 0.0)
            self._advance(server, 0.0)

    def _ask(self, server: int, work: Work, now_s: float) -> int:
        """Submit what no client asked for, and return its id, which is below 0."""
        self._own -= 1
        self._instances[server].submit(replace(work, id=self._own), now_s)
        return self._own

    def _start_polling(self) -> None:
        interval_s = self._policy.poll_interval_s
        if interval_s is None:
            return
        count = len(self._instances)
        for server in range(count):
            self._poll(server, 0.0)
            self._at(interval_s * (server + 1) / count, Timer.POLL, server)

    def _at(self, at_s: float, kind: Timer, number: int) -> None:
        heapq.heappush(self._timers, (at_s, kind, number))

    def _pass_time(self, until_s: float) -> None:
        """Let everything happen that comes before the next arrival; without one, until nothing is in flight."""
        next_at_s = self._next_at_s
        while True:
            instance_at_s = min(next_at_s)
            timer_at_s = self._next_timer_at_s()
            if min(instance_at_s, timer_at_s) > until_s or (
                until_s == math.inf and not self._records and not self._thinking
            ):
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
            self._abandon(self._patience.popleft(), TIMED_OUT, now_s)
            return
        _, kind, number = heapq.heappop(self._timers)
        self._happen(Timer(kind), number, now_s)
        self._grant(now_s)

    def _happen(self, kind: Timer, number: int, now_s: float) -> None:
        if kind is Timer.POLL:
            self._poll(number, now_s)
            self._at(now_s + (self._policy.poll_interval_s or math.inf), Timer.POLL, number)
        elif kind is Timer.LEAVE and number in self._records:
            self._abandon(self._records[number], CLIENT_LEFT, now_s)
        elif kind is Timer.ASK:
            self._thinking -= 1
            self._arrive(replace(self._next.pop(number), at_s=now_s))
        elif kind is Timer.PROBE and number in self._probes:
            self._instances[self._probes[number]].cancel(number, now_s)
            self._probed(number, False, now_s)

    def _poll(self, server: int, now_s: float) -> None:
        """Let the policy read, and send what it wants to know besides."""
        loaded = self._instances[server].ps(now_s)
        if loaded is None:
            self._policy.unreachable(server, now_s)
        else:
            self._policy.polled(server, loaded, now_s)
        for probe in self._policy.probes(now_s):
            if not self._instances[probe.server].is_open:
                self._policy.probed(probe.server, False, now_s)
                continue
            number = self._ask(probe.server, Work(0, probe.model, num_ctx=probe.num_ctx), now_s)
            self._probes[number] = probe.server
            self._at(now_s + probe.deadline_s, Timer.PROBE, number)
            self._advance(probe.server, now_s)
        for touch in self._policy.touches(now_s):
            if self._instances[touch.server].is_open:
                self._ask(touch.server, Work(0, touch.model, Task.PRELOAD, num_ctx=touch.num_ctx), now_s)
                self._advance(touch.server, now_s)

    def _probed(self, number: int, is_answered: bool, now_s: float) -> None:
        self._policy.probed(self._probes.pop(number), is_answered, now_s)
        self._grant(now_s)

    def _arrive(self, request: Request) -> None:
        record = RequestOutcome(request)
        self._outcome.records.append(record)
        self._records[request.work.id] = record
        self._patience.append(record)
        if request.patience_s is not None:
            self._at(request.at_s + request.patience_s, Timer.LEAVE, request.work.id)
        if request.past is None:
            self._follow(record, self._policy.route(request, self._front, request.at_s), request.at_s)
        else:
            record.server = request.past
            self._let_through.append((record, request.past))
        self._settle(request.at_s)

    def _follow(self, record: RequestOutcome, verdict: Assignment, now_s: float) -> None:
        """Do what the policy says."""
        if verdict is Wait.BACKEND:
            self._front.central.append(record)
        elif verdict is Wait.POLICY:
            self._held[record.request.work.id] = record
        elif isinstance(verdict, Refusal):
            self._close(record, verdict.status, now_s)
        elif isinstance(verdict, int) and self._front.admit(record, verdict):
            self._let_through.append((record, verdict))

    def _grant(self, now_s: float) -> None:
        while self._held:
            granted = list(self._policy.grants(self._front, now_s))
            for number, verdict in granted:
                # Who left just after it was decided is gone, and the policy was told.
                record = self._held.pop(number, None)
                if record is not None:
                    self._follow(record, verdict, now_s)
            if not granted:
                return

    def _settle(self, now_s: float) -> None:
        """Submit what the front let through. Apart from its causes, so that refusals in a row do not nest."""
        while self._let_through:
            record, server = self._let_through.popleft()
            self._recorder.sent(server)
            self._submit(record, server, now_s)

    def _submit(self, record: RequestOutcome, server: int, now_s: float) -> None:
        for model in self._policy.unloads(record):
            self._ask(server, Work(0, model, Task.UNLOAD, keep_alive_s=0.0), now_s)
        record.sent_at_s = now_s
        self._instances[server].submit(record.request.work, now_s)
        self._advance(server, now_s)

    def _advance(self, server: int, now_s: float) -> None:
        instance = self._instances[server]
        for event in instance.advance(now_s):
            self._take(server, event)
        self._next_at_s[server] = instance.next_at_s

    def _take(self, server: int, event: Event) -> None:
        """Note one event of an instance."""
        self._recorder.take(server, event)
        if isinstance(event, (FirstToken, Finished, Rejected)) and event.id < 0:
            if event.id in self._probes and not isinstance(event, FirstToken):
                self._probed(event.id, isinstance(event, Finished), event.at_s)
        elif isinstance(event, FirstToken):
            self._records[event.id].first_at_s = event.at_s
        elif isinstance(event, Finished):
            record = self._records[event.id]
            record.load_wait_s = event.durations.load_s
            self._end(record, SERVED, event.at_s)
        elif isinstance(event, Rejected):
            self._end(self._records[event.id], event.status, event.at_s)

    def _end(self, record: RequestOutcome, status: int, now_s: float) -> None:
        """A request on an instance ended; the next in the queue takes its place."""
        server = record.server
        assert server is not None
        self._close(record, status, now_s)
        if record.request.past is not None:
            return
        following = self._front.release(server)
        self._policy.ended(record, self._front, now_s)
        if following is not None:
            self._let_through.append((following, server))
        self._grant(now_s)

    def _abandon(self, record: RequestOutcome, status: int, now_s: float) -> None:
        """The client left, or the front gave up: wherever the request is, it goes away."""
        number = record.request.work.id
        if self._held.pop(number, None) is not None or self._front.leave(record):
            self._close(record, status, now_s)
            self._policy.ended(record, self._front, now_s)
            self._grant(now_s)
            return
        server = record.server
        assert server is not None
        self._instances[server].cancel(number, now_s)
        if status == TIMED_OUT:
            self._recorder.failed(server)
        self._end(record, status, now_s)
        self._advance(server, now_s)

    def _close(self, record: RequestOutcome, status: int, now_s: float) -> None:
        record.status, record.ended_at_s = status, now_s
        self._outcome.finished_at_s = now_s
        number = record.request.work.id
        del self._records[number]
        if number in self._next:
            self._thinking += 1
            self._at(now_s + self._next[number].think_s, Timer.ASK, number)
