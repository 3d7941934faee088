"""Who is believed in: takes evidence from polls, log lines, stalls and probes to the instance that it is about, and
tells the agent the verdicts. Runs the probes.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping

import structlog

from spoe_agent.agent.agent import Agent
from spoe_agent.agent.ending import Line
from spoe_agent.agent.grant import Grant
from spoe_agent.agent.preload import by_demand
from spoe_agent.agent.statefile import Doubt, Kept
from spoe_agent.fleet import HealthPolicy
from spoe_agent.instances.ended import REFUSED, Manner, changed_by, manner
from spoe_agent.instances.evictions import Evictions
from spoe_agent.instances.failures import Failures
from spoe_agent.instances.health import InstanceHealth, Transition
from spoe_agent.instances.probe import Target
from spoe_agent.instances.reading import Reading, joined
from spoe_agent.instances.saying import log_turn
from spoe_agent.instances.spills import LostGpus
from spoe_agent.instances.stall import LOAD_FACTOR, Expected
from spoe_agent.instances.usual import Usual
from spoe_agent.instances.watched import Around, Watched
from spoe_agent.routing import Health, InstanceSpec, Kind
from spoe_agent.routing.names import display

log = structlog.get_logger()

TICK_S = 0.5

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
        self._agent = agent
        self._policy = policy
        self._probe = probe
        self._clock = clock
        self._relist = relist
        self._wall = wall
        self._usual = Usual(agent)
        self._failures = Failures()
        self._faulty: frozenset[str] = frozenset()
        """Models at fault that were said."""
        self._specs: dict[str, InstanceSpec] = {}
        self._watched: dict[str, Watched] = {}
        self.adopt(policy, ())

    def adopt(self, policy: HealthPolicy, gone: Iterable[str]) -> None:
        """Follow the agent's fleet, which has changed, and judge by another policy.

        `gone`: who is not in it any more, or is another server now.
        """
        now_s, moved, drained = self._clock(), set(gone), self.drained
        self._policy = policy
        self._specs = {spec.name: spec for spec in self._agent.fleet.instances}
        known = {name: one for name, one in self._watched.items() if name not in moved}
        for one in known.values():
            one.health.adopt(policy)
        self._watched = {name: known.get(name) or Watched(InstanceHealth(name, policy, now_s)) for name in self._specs}
        for name in drained.intersection(moved, self._specs):
            self._note(self._watched[name].health.drain(now_s, "by hand, before it moved"))

    @property
    def health(self) -> Mapping[str, InstanceHealth]:
        """The health of every instance, by name."""
        return {name: one.health for name, one in self._watched.items()}

    def published(self, instance: str, reading: Reading) -> None:
        """Take what a poll brought."""
        board, one, now_s, wall_s = self._agent.board, self._watched[instance], self._clock(), self._wall()
        reading = joined(board.namesakes, instance, reading)
        activity, before = board.activity(instance), board.state(instance)
        in_flight = {*activity.in_flight, *activity.loading}
        state = one.polled(reading, before, in_flight, now_s, wall_s)
        room = self._specs[instance].vram_bytes
        keeps = one.evictions.see(before.loaded, state.loaded, activity.leaving, room, now_s, wall_s)
        if keeps is not None:
            self._agent.settings.keeps(instance, keeps, now_s)
        is_new = one.came_up(reading, in_flight)
        self._agent.published(instance, one.lost_gpus.see(self._specs[instance], state, now_s))
        if is_new:
            self._agent.preload.came_up(instance, one.had, now_s)

    def ended(self, line: Line) -> Grant | None:
        """Take a finished request's line: the agent its times, the instance's health its manner. Return its grant."""
        now_s, grant = self._clock(), self._agent.board.find(line.request_id)
        if grant is not None and grant.instance in self._watched:
            # First, or whoever waits for its slot goes where two have just failed.
            self._judge(line, grant, now_s)
        if line.kind in (Kind.INFERENCE, Kind.UNLOAD) and line.server in self._watched:
            self._watched[line.server].used("" if grant is None else grant.model, now_s)
        self._agent.ended(line.request_id, line.server, line.ending)
        changed = changed_by(line, self._specs)
        if changed:
            self.store_changed(changed)
        return grant

    def store_changed(self, instances: Iterable[str]) -> None:
        """Have the lists of those that share a changed store read at once."""
        self._relist([name for name in instances if name in self._specs])

    def _judge(self, line: Line, grant: Grant, now_s: float) -> None:
        """Take the manner in which an instance treated a request."""
        name = grant.instance
        treated, why = manner(line, grant)
        self._usual.ended(line, grant, treated)
        self._note(self._watched[name].ended(grant, treated, why, self._around(grant, now_s)))
        if treated is Manner.ERRED:
            self._acquit(now_s)
        self._publish_avoided(name, now_s)

    def _around(self, grant: Grant, now_s: float) -> Around:
        """Return what the end of a granted request is judged by."""
        name, board = grant.instance, self._agent.board

        def expect(model: str) -> Expected:
            """Few ends need it, and it takes a while."""
            return self._usual.on(self._specs[name], board.snapshot({}, now_s))(model)

        beside = board.activity(name).in_flight.get(grant.model, 0) - 1
        return Around(now_s, board.state(name), beside, expect, self._failures, self._policy.errors)

    def _acquit(self, now_s: float) -> None:
        """Hold what is a model's own fault against no instance. Say it once."""
        found = self._failures.at_fault(now_s)
        for model in found.keys() - self._faulty:
            log.warning("a model fails wherever it is asked", model=display(model), why=found[model])
            for name, one in self._watched.items():
                one.acquit(model)
                self._publish_avoided(name, now_s)
        self._faulty = frozenset(found)

    def _publish_avoided(self, name: str, now_s: float) -> None:
        one, state = self._watched[name], self._agent.board.state(name)
        if one.avoidance.now(now_s) != state.avoided:
            self._agent.published(name, one.judged(state, now_s))

    def faulty(self) -> list[str]:
        """Return what is known of models that fail wherever they are asked, for people."""
        return [f"{why}: its own fault or its clients'" for why in self._failures.at_fault(self._clock()).values()]

    def refused(self, instance: str, grant: Grant | None) -> None:
        """Take note that a request, with what was granted to it there, comes around again: it could not connect, or is
        repeated for whatever reason.
        """
        if instance not in self._watched:
            return
        now_s, one = self._clock(), self._watched[instance]
        if grant is None or not grant.is_repeated or grant.instance != instance:
            self._note(one.health.refused(REFUSED, now_s))
            return
        around = self._around(grant, now_s)
        # The grant has ended already: it is not among those in flight any more.
        self._note(one.repeated(grant, around._replace(beside=around.beside + 1)))
        self._acquit(now_s)
        self._publish_avoided(instance, now_s)

    def touched(self, instance: str, model: str) -> None:
        """Take note that a model was touched: nobody else has used it."""
        if instance in self._watched:
            self._watched[instance].used(model, self._clock())

    def used(self) -> list[str]:
        """Return the instances that may have something else loaded than when they were read last: requests of ours are
        there, or were since. Who is down has nothing.
        """
        board = self._agent.board
        up = ((name, one) for name, one in self._watched.items() if board.state(name).health is not Health.DOWN)
        return [name for name, one in up if board.granted(name) or one.used_since(board.state(name).loaded_at_s)]

    def drain(self, instance: str) -> None:
        """Take an instance out by hand. Raises KeyError when there is none of that name."""
        self._note(self._watched[instance].health.drain(self._clock()))

    @property
    def drained(self) -> frozenset[str]:
        """Instances that were taken out by hand."""
        return frozenset(name for name, health in self.health.items() if health.is_drained)

    def doubts(self) -> dict[str, Doubt]:
        """Return what speaks against instances, for the next agent."""
        found = {name: health.doubt() for name, health in self.health.items()}
        return {name: doubt for name, doubt in found.items() if doubt is not None}

    def loaded(self) -> dict[str, list[str]]:
        """Return what instances had loaded when they were read last, the most wanted first."""
        rates = self._agent.learner.learned(self._clock()).rate_per_s or {}
        return by_demand({name: one.had for name, one in self._watched.items()}, rates)

    def restore(self, kept: Kept) -> None:
        """Take out who was drained, doubt who was doubted, have loaded again what was. Who is gone since is said."""
        for instance in kept.loaded.keys() & self._watched.keys():
            if self._watched[instance].recall(kept.loaded[instance], self._agent.board.state(instance)):
                self._agent.preload.came_up(instance, kept.loaded[instance], self._clock())
        for instance in kept.doubts.keys() & self._watched.keys():
            self._note(self._watched[instance].health.take(kept.doubts[instance], self._clock()))
        for instance in sorted(kept.drained):
            if instance in self._watched:
                was = "by hand, before the agent was restarted"
                self._note(self._watched[instance].health.drain(self._clock(), was))
            else:
                log.warning("was drained by hand, but is not in the fleet file any more", instance=instance)

    def ready(self, instance: str) -> None:
        """Let a drained instance serve again. Raises KeyError when there is none of that name."""
        self._note(self._watched[instance].health.ready(self._clock()))

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
        young_s = now_s - min(self._policy.stall, self._policy.load_stall)
        for name, one in self._watched.items():
            grants = self._agent.board.granted(name)
            # The oldest comes first; a load may have been waited for by others before these.
            if not grants or (grants[0].at_s > young_s and not snapshot.active(name).loading):
                continue
            for turn in one.look(grants, snapshot, self._usual.on(self._specs[name], snapshot), self._policy):
                self._note(turn)

    def due(self) -> Iterable[InstanceHealth]:
        """Return whom to probe now."""
        now_s = self._clock()
        return [one.health for one in self._watched.values() if one.health.wants_probe(now_s)]

    async def probe(self, health: InstanceHealth) -> None:
        """Probe one instance, if anything would tell."""
        name, one = health.instance, self._watched.get(health.instance)
        if one is None or one.health is not health:
            return  # the fleet file has lost it
        what = one.target(self._agent.board.state(name))
        if what is None:
            return
        usual = self._usual.on(self._specs[name], self._agent.board.snapshot({}, self._clock()))
        extra_s = LOAD_FACTOR * usual(what.model).load_s if what.is_cold else 0.0
        health.probing()
        try:
            failure = await self._probe(name, what, self._policy.probe_timeout + extra_s)
        except BaseException:
            health.probe_given_up()
            raise
        turns = one.probed(what, failure, self._clock())
        if not failure:
            self._failures.served(what.model, name, "", self._clock())
        if self._watched.get(name) is one:  # else the fleet file has lost it meanwhile
            for turn in turns:
                self._note(turn)
            self._publish_avoided(name, self._clock())

    def _note(self, turn: Transition | None) -> None:
        """Log a transition, and tell the agent."""
        if turn is not None:
            log_turn(turn)
            name, board = turn.instance, self._agent.board
            self._agent.published(name, self._watched[name].judged(board.state(name), self._clock()))
            if turn.after is Health.DOWN:
                self._watched[name].evictions = Evictions()
                self._watched[name].lost_gpus = LostGpus()
                self._agent.settings.forget(name)
                # It may be back before the next poll, and have other models then.
                self._relist([name])
