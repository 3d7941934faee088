"""The connection limits of all instances: gathers what each can do, and tells agent and HAProxy."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from spoe_agent.agent.agent import Agent
from spoe_agent.agent.ending import Line
from spoe_agent.agent.grant import Grant
from spoe_agent.fleet import Fleet
from spoe_agent.haproxy.check import line as check_line
from spoe_agent.haproxy.contract import BEAT_S
from spoe_agent.haproxy.limits import Bounds, Capacity, Limit, Pace
from spoe_agent.instances.watch import Watch
from spoe_agent.routing import Health, Snapshot

LEAST_BYTES = 2000
"""Shorter answers say nothing of speed: headers are most of them."""

LEAST_DATA_S = 0.1

GONE = "up ready 0%"


class Limiter:
    """Follows every instance's limit."""

    def __init__(self, fleet: Fleet, agent: Agent, watch: Watch, clock: Callable[[], float] = time.monotonic) -> None:
        self._agent = agent
        self._watch = watch
        self._clock = clock
        self._is_leaving = False
        self._limits: dict[str, Limit] = {}
        self._paces: dict[str, Pace] = {}
        self.adopt(fleet)

    def adopt(self, fleet: Fleet) -> None:
        """Take another fleet, which the agent and the watch have already. Who stays keeps limit and pace."""
        self._follows = fleet.policies.limits.follow
        self._instances = {instance.name: instance for instance in fleet.instances}
        self._floor, before = fleet.policies.limits.floor, self._limits
        self._limits = {name: Limit(self._bounds(name, self._clock())) for name in self._instances}
        for name in before.keys() & self._limits.keys():
            self._limits[name].factor, self._limits[name].at_s = before[name].factor, before[name].at_s
        self._paces = {name: self._paces.get(name) or Pace() for name in self._instances}
        self._told: dict[str, int] = {}
        if not self._follows:
            # HAProxy is told what the fleet file says, so nobody may be granted more.
            self._agent.limit({name: self.configured(name) for name in self._instances})
        self.follow()

    def ended(self, line: Line, grant: Grant | None) -> None:
        """Take a finished request's line: how fast its answer came."""
        data_s = line.ending.total_s - line.ending.first_byte_s
        if (
            grant is None
            or grant.instance not in self._paces
            or not line.ending.is_whole
            or line.server != grant.instance
        ):
            return
        if line.size_bytes >= LEAST_BYTES and data_s >= LEAST_DATA_S:
            self._paces[grant.instance].add(data_s / line.size_bytes)

    async def run(self) -> None:
        """Follow until cancelled."""
        while True:
            self.follow()
            await asyncio.sleep(BEAT_S)

    def follow(self) -> None:
        """Bring every limit up to date, and tell the agent."""
        if not self._follows:
            return
        now_s = self._clock()
        snapshot = self._agent.board.snapshot({}, now_s)
        limits = {}
        for name, limit in self._limits.items():
            limit.bounds = self._bounds(name, now_s)
            limits[name] = limit.follow(self._capacity(name, snapshot), now_s)
        if limits != self._told:
            self._agent.limit(limits)
            self._told = limits

    def leave(self) -> None:
        """The agent stops: what HAProxy is told from now on is what the fleet file says."""
        self._is_leaving = True

    def configured(self, name: str) -> int:
        """Return what the fleet file says."""
        return self._instances[name].max_connections

    def now(self, name: str) -> int:
        """Return the limit in force."""
        return self._limits[name].value if self._follows and not self._is_leaving else self.configured(name)

    def slowdown(self, name: str) -> float:
        """Return how many times slower than usual answers come."""
        return self._paces[name].slowdown

    def lines(self) -> dict[str, str]:
        """Return the answers that hold when there is no agent: the fleet file's limits, and drains by hand."""
        health = self._watch.health
        return {name: check_line(True, health[name].is_drained, self.configured(name)) for name in self._instances}

    def answer(self, name: str) -> str:
        """Return HAProxy's answer for an instance. One that the fleet file lost is to get nothing from HAProxy either,
        until that is reloaded.
        """
        if name not in self._instances:
            return GONE
        health = self._watch.health[name]
        is_up = self._is_leaving or health.for_routing is not Health.DOWN
        return check_line(is_up, health.is_drained, self._share(name))

    def _share(self, name: str) -> int:
        """Return the limit for whoever asks; which of several HAProxy processes that is, a check does not tell.

        1. Where requests are held, the agent itself grants no more than the limit to all of them together. Each is
           told the whole: what it is granted within the half second until it asks again must not wait in its queue.
        2. Where they are not, they wait in HAProxy's queues: what is left, and what the process with most has already.
           So one alone gets all, and none is cut below what it has.
        """
        streams, limit = self._agent.board.by_process(name).values(), self.now(name)
        if len(streams) < 2 or self._agent.fleet.policy.hold_s or self._is_leaving:
            return limit
        return max(1, limit - sum(streams) + max(streams))

    def _capacity(self, name: str, snapshot: Snapshot) -> Capacity:
        real, fleet = self._agent.settings.real(name, snapshot.at_s), self._agent.fleet
        models = {*snapshot.state(name).loaded, *snapshot.active(name).loading}
        slots = sum(fleet.rule(model).slots(real.num_parallel) for model in models)
        more = real.num_parallel if len(models) < real.max_loaded_models else 0
        return Capacity(slots, more, self._paces[name].slowdown, snapshot.gpu(name))

    def _bounds(self, name: str, now_s: float) -> Bounds:
        real = self._agent.settings.real(name, now_s)
        whole = real.num_parallel * real.max_loaded_models
        return Bounds(real.max_connections, whole, min(self._floor, real.max_connections))
