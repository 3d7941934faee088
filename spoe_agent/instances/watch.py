"""Who is believed in: takes evidence from polls, log lines, stalls and probes to each instance's InstanceHealth.

Lives here: which evidence goes where, and the probes' tasks.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import replace

import structlog

from spoe_agent.agent.account import Grant
from spoe_agent.agent.agent import Agent
from spoe_agent.agent.ending import Line
from spoe_agent.agent.statefile import Doubt
from spoe_agent.instances.complaint import Complaint
from spoe_agent.instances.health import HealthPolicy, InstanceHealth, Transition
from spoe_agent.instances.others import Others
from spoe_agent.instances.probe import Target, target
from spoe_agent.instances.saying import log_poll, log_turn
from spoe_agent.instances.stall import LOAD_FACTOR, Expected, load_stall, stall
from spoe_agent.routing import Health, InstanceSpec, InstanceState, Kind, Snapshot, Tier
from spoe_agent.routing.estimates import load_s, service_s, weights_bytes

log = structlog.get_logger()

TICK_S = 0.5

FIRST_BYTE_S = 1.0
"""Until something was learned."""

LONGEST_FADES = 0.99
"""With each whole request of a model, what is known of its longest one."""

BROKEN_STREAMS = frozenset({"SD", "sD"})
"""Termination states (configuration.txt 8.5): the server broke off, or fell silent, in the middle of its answer."""

REFUSED = "refused a request's connection"

NO_CONNECTION = frozenset({"SC", "sC"})

CLIENTS_OWN = frozenset({501, 505})
"""5xx that say nothing of the instance's health."""

BUSY = 503
"""Ollama's queue is full (server/sched.go ErrMaxQueue): no sign of illness."""

Relist = Callable[[Iterable[str]], None]


def _nobody(_: Iterable[str]) -> None:
    """Whoever polls often enough needs no more."""


Probe = Callable[[str, Target, float], Awaitable[str]]
"""Instance, what to ask, seconds it may take: "" or what went wrong."""


class Watch:
    """Holds the health of every instance of an agent's fleet, and keeps the agent's board told of it."""

    def __init__(
        self,
        agent: Agent,
        policy: HealthPolicy,
        probe: Probe,
        clock: Callable[[], float] = time.monotonic,
        relist: Relist = _nobody,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """`relist`: has instances' lists read now. `wall`: seconds since 1970."""
        self._wall = wall
        self._agent = agent
        self._relist = relist
        self._policy = policy
        self._probe = probe
        self._clock = clock
        self._specs: dict[str, InstanceSpec] = {spec.name: spec for spec in agent.fleet.instances}
        self.health = {name: InstanceHealth(name, policy, clock()) for name in self._specs}
        self._polled: dict[str, InstanceState] = {}
        self._others: defaultdict[str, Others] = defaultdict(Others)
        self._lists: defaultdict[str, Complaint] = defaultdict(Complaint)
        self._last_sign_s: dict[str, dict[str, float]] = {name: {} for name in self._specs}
        self._silent: dict[str, str] = {}
        self._longest_s: dict[str, float] = {}

    def adopt(self, policy: HealthPolicy, gone: Iterable[str]) -> None:
        """Follow the agent's fleet, which has changed, and judge by another policy.

        `gone`: who is not in it any more, or is another server now.
        """
        drained, self._policy = self.drained, policy
        self._specs = {spec.name: spec for spec in self._agent.fleet.instances}
        for name in gone:
            self.health.pop(name, None)
            self._polled.pop(name, None)
            self._lists.pop(name, None)
            self._others.pop(name, None)
            self._silent.pop(name, None)
            self._last_sign_s.pop(name, None)
        for health in self.health.values():
            health.adopt(policy)
        now_s = self._clock()
        self.health = {name: self.health.get(name) or InstanceHealth(name, policy, now_s) for name in self._specs}
        self._last_sign_s = {name: self._last_sign_s.get(name, {}) for name in self._specs}
        for name in drained.intersection(gone) & self._specs.keys():
            self._note(self.health[name].drain(now_s, "by hand, before it moved"))

    def published(self, instance: str, state: InstanceState) -> None:
        """Take new readings of an instance, and pass them on with the verdict on it."""
        now_s = self._clock()
        before = self._polled.get(instance)
        self._polled[instance] = state
        health = self.health[instance]
        log_poll(
            instance, state, health.polled(state, now_s), self._lists[instance].see(state.health is Health.SLOW, now_s)
        )
        fresh = state.loaded.keys() - (before.loaded.keys() if before is not None else ())
        self._last_sign_s[instance].update(dict.fromkeys(fresh, now_s))
        if fresh and before is not None:
            log_turn(health.loaded(now_s))
        if state.loaded_at_s is not None and (before is None or state.loaded_at_s != before.loaded_at_s):
            activity = self._agent.board.activity(instance)
            in_flight = {*activity.in_flight, *activity.loading}
            self._others[instance].see(state.loaded, in_flight, state.loaded_at_s, self._wall())
        self._agent.published(instance, self._told(instance, state))

    def ended(self, line: Line) -> Grant | None:
        """Take a finished request's line: the agent its times, the instance's health its manner. Return its grant."""
        grant = self._agent.board.find(line.request_id)
        if grant is not None and grant.instance in self.health:
            # First, or whoever waits for its slot goes where two have just failed.
            self._note(self._judge(self.health[grant.instance], grant, line, self._clock()))
        if line.kind is Kind.INFERENCE and line.server in self._specs:
            self._others[line.server].ours("" if grant is None else grant.model, self._clock())
        self._agent.ended(line.request_id, line.server, line.ending)
        if line.server in self._specs and _changes_lists(line):
            store = self._specs[line.server].store
            self._relist([name for name, spec in self._specs.items() if spec.store == store])
        return grant

    def _judge(self, health: InstanceHealth, grant: Grant, line: Line, now_s: float) -> Transition | None:
        if line.server != grant.instance:
            # HAProxy gave up on the instance and took another.
            return health.refused(REFUSED, now_s) if line.is_redispatched else None
        if line.termination in NO_CONNECTION:
            return health.refused(REFUSED, now_s)
        if line.termination in BROKEN_STREAMS:
            return health.erred(f"broke streams off ({line.termination}), last of {grant.model}", now_s)
        if line.status >= 500 and line.status != BUSY and line.status not in CLIENTS_OWN:
            return health.erred(f"answered {line.status} for {grant.model}", now_s)
        if line.ending.is_whole:
            self._last_sign_s[grant.instance][grant.model] = now_s
            if grant.tier is Tier.LOADED:
                faded_s = LONGEST_FADES * self._longest_s.get(grant.model, 0.0)
                self._longest_s[grant.model] = max(faded_s, line.ending.total_s)
            return health.served(now_s)
        return None

    def refused(self, instance: str) -> None:
        """Take note that a request could not connect, and comes around again."""
        health = self.health.get(instance)
        if health is not None:
            self._note(health.refused(REFUSED, self._clock()))

    def drain(self, instance: str) -> None:
        """Take an instance out by hand. Raises KeyError when there is none of that name."""
        self._note(self.health[instance].drain(self._clock()))

    @property
    def drained(self) -> frozenset[str]:
        """Instances that were taken out by hand."""
        return frozenset(name for name, health in self.health.items() if health.is_drained)

    def doubts(self) -> dict[str, Doubt]:
        """Return what speaks against instances, for the next agent."""
        found = {name: health.doubt() for name, health in self.health.items()}
        return {name: doubt for name, doubt in found.items() if doubt is not None}

    def restore(self, drained: Iterable[str], doubts: Mapping[str, Doubt]) -> None:
        """Take those out who were before the agent was restarted, and doubt whom it doubted. A drained one that is no
        longer in the fleet is said.
        """
        for instance in doubts.keys() & self.health.keys():
            self._note(self.health[instance].take(doubts[instance], self._clock()))
        for instance in sorted(drained):
            if instance in self.health:
                self._note(self.health[instance].drain(self._clock(), "by hand, before the agent was restarted"))
            else:
                log.warning("was drained by hand, but is not in the fleet file any more", instance=instance)

    def ready(self, instance: str) -> None:
        """Let a drained instance serve again. Raises KeyError when there is none of that name."""
        self._note(self.health[instance].ready(self._clock()))

    async def run(self) -> None:
        """Look for stalls, and probe, until cancelled."""
        async with asyncio.TaskGroup() as group:
            while True:
                self.look()
                for health in self.due():
                    group.create_task(self.probe(health))
                await asyncio.sleep(TICK_S)

    def look(self) -> None:
        """Look for requests and loads that do not come to their end."""
        now_s = self._clock()
        snapshot = self._agent.board.snapshot({}, now_s)
        young_s = now_s - min(self._policy.stall_s, self._policy.load_stall_s)
        for name, health in self.health.items():
            grants = self._agent.board.granted(name)
            # The oldest comes first; a load may have been waited for by others before these.
            if not grants or (grants[0].at_s > young_s and not snapshot.active(name).loading):
                continue
            state, expect = snapshot.state(name), self._expect(name, snapshot)
            running = [grant for grant in grants if grant.model in state.loaded]
            found = stall(running, self._last_sign_s[name], expect, self._policy.stall_s, now_s)
            if found is not None:
                self._silent[name] = found.model
                self._note(health.stalled(found.why, found.is_proven, now_s))
            activity = snapshot.active(name)
            why = load_stall(activity.unfinished, activity.in_flight, expect, self._policy.load_stall_s, now_s)
            if why:
                self._note(health.load_stalled(why, now_s))

    def due(self) -> Iterable[InstanceHealth]:
        """Return whom to probe now."""
        now_s = self._clock()
        return [health for health in self.health.values() if health.wants_probe(now_s)]

    async def probe(self, health: InstanceHealth) -> None:
        """Probe one instance, if anything would tell."""
        name = health.instance
        of_loads = health.loads_in_doubt and health.for_routing is Health.UP and not health.question
        what = target(self._agent.board.state(name), of_loads, self._silent.get(name, ""))
        if what is None:
            return
        snapshot = self._agent.board.snapshot({}, self._clock())
        extra_s = LOAD_FACTOR * self._expect(name, snapshot)(what.model).load_s if what.is_cold else 0.0
        health.probing()
        failure = "was given up"
        try:
            failure = await self._probe(name, what, self._policy.probe_timeout_s + extra_s)
        finally:
            self._others[name].ours(what.model, self._clock())
            turns = health.probed(failure, what.is_cold, self._clock())
        if self.health.get(name) is not health:
            return  # the fleet file lost it meanwhile
        if not failure:
            self._last_sign_s[name][what.model] = self._clock()
            self._silent.pop(name, None)
        for turn in turns:
            self._note(turn)

    def _expect(self, instance: str, snapshot: Snapshot) -> Callable[[str], Expected]:
        learned, fleet = self._agent.learner.learned(snapshot.at_s), self._agent.fleet

        def expect(model: str) -> Expected:
            rule = fleet.rule(model)
            weights = weights_bytes(model, rule, snapshot)
            first = self._agent.learner.first_byte.get((model, instance))
            return Expected(
                FIRST_BYTE_S if first is None else first.seconds,
                service_s(learned, model, instance, weights),
                load_s(learned, model, instance, weights),
                rule.num_parallel or self._specs[instance].num_parallel,
                self._longest_s.get(model, 0.0),
            )

        return expect

    def _note(self, turn: Transition | None) -> None:
        """Log a transition, and tell the agent."""
        if turn is not None:
            log_turn(turn)
            name = turn.instance
            self._agent.published(name, self._told(name, self._agent.board.state(name)))

    def _told(self, instance: str, state: InstanceState) -> InstanceState:
        """Return readings with the verdict."""
        health = self.health[instance]
        why = health.note if health.state is Health.UP else health.evidence
        others = self._others[instance].using(self._clock())
        return replace(state, health=health.for_routing, loads_in_doubt=health.loads_in_doubt, why=why, others=others)


def _changes_lists(line: Line) -> bool:
    """Tell whether a request shows that a store has changed: it changed it, or did not find what is on our list."""
    if line.kind is Kind.MANAGE:
        return 200 <= line.status < 300
    return line.kind in (Kind.INFERENCE, Kind.DESCRIBE) and line.status == 404
