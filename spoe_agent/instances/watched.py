"""What is kept of one instance beside its state on the board, and the one place where readings and verdict are joined
to that state. Time, readings and what is in flight are passed in.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from math import inf
from typing import NamedTuple

from spoe_agent.agent.grant import Grant
from spoe_agent.agent.unserved import one_more
from spoe_agent.fleet import HealthPolicy
from spoe_agent.instances.avoidance import Avoidance
from spoe_agent.instances.ended import REPEATED, Manner
from spoe_agent.instances.evictions import Evictions
from spoe_agent.instances.failures import Failures, Verdict
from spoe_agent.instances.health import InstanceHealth, Transition
from spoe_agent.instances.lists import Installed
from spoe_agent.instances.others import Others
from spoe_agent.instances.probe import Target, target
from spoe_agent.instances.reading import PollResult, Reading
from spoe_agent.instances.saying import Complaint, log_avoided, log_poll, log_turn
from spoe_agent.instances.spills import LostGpus
from spoe_agent.instances.stall import FIRST_BYTE_FACTOR, Expect, load_stall, stall
from spoe_agent.routing import Health, InstanceState, Snapshot, Tier
from spoe_agent.routing.names import display
from spoe_agent.routing.snapshot import ANY_MODEL

LEAVES = 3
"""So many clients in a row who leave before the first byte, though it usually comes much sooner, are worth a probe."""


class Around(NamedTuple):
    """What the end of a request is judged by."""

    now_s: float
    state: InstanceState
    """Of the instance, as it was."""
    beside: int
    """Other requests in flight there for its model."""
    expect: Expect
    failures: Failures
    """Of the whole fleet."""
    enough: int
    """Failures in a row that are evidence."""


@dataclass(slots=True)
class Watched:
    """One instance under watch. Times are monotonic seconds, but for `wall_s`, which is seconds since 1970."""

    health: InstanceHealth
    others: Others = field(default_factory=Others)
    used_at_s: float = -inf
    """When a request of ours last ended."""
    evictions: Evictions = field(default_factory=Evictions)
    lost_gpus: LostGpus = field(default_factory=LostGpus)
    lists: Complaint = field(default_factory=Complaint)
    last_sign_s: dict[str, float] = field(default_factory=dict)
    """When each model last gave a sign of life."""
    silent: str = ""
    """The model that gives no answers, or wrong ones, if there is one."""
    avoidance: Avoidance = field(default_factory=Avoidance)
    left: Counter[str] = field(default_factory=Counter)
    """Clients who left in vain, by model, since its last sign of life."""
    is_read: bool = False
    had: tuple[str, ...] = ()
    """What was loaded when it was read last."""
    was_away: bool = True
    """It was not read yet, or may have been started anew since."""

    def came_up(self, reading: Reading, in_flight: Collection[str]) -> bool:
        """Take what a poll brought; tell whether the instance was started anew: it has nothing loaded, and was away
        just before. `in_flight`: as for `polled`.
        """
        loaded, outcome = reading.loaded, reading.outcome
        is_new = self.was_away and loaded is not None and not loaded
        if loaded is not None:
            self.was_away = False
            if not is_new:
                # While something loads, what was there before may still be on its way.
                self.had = tuple(loaded) or (self.had if in_flight else ())
        # Who is slow is there. Silence is a sign only where something went with it: who had nothing loaded, because
        # somebody stopped it or its time was up, may just have hung.
        if outcome is PollResult.REFUSED or (outcome is PollResult.SILENT and loaded is None and self.had):
            self.was_away = True
        return is_new

    def recall(self, models: Sequence[str], state: InstanceState) -> bool:
        """Know what it had loaded when an agent before this one read it; tell whether it was started anew since."""
        if state.loaded:
            return False
        self.had = tuple(models)
        return not self.was_away

    def polled(
        self, reading: Reading, before: InstanceState, in_flight: Collection[str], now_s: float, wall_s: float
    ) -> InstanceState:
        """Take what a poll brought, and return the instance's state.

        Args:
            reading: the poll's.
            before: the state until now.
            in_flight: models for which we have requests there.
        """
        turn = self.health.polled(reading, now_s)
        log_poll(self.health.instance, reading, turn, self.lists.see(bool(self.health.note), now_s))
        state = _with(before, reading)
        if reading.outcome is PollResult.REFUSED and self.health.is_gone:
            state = replace(state, loaded={}, loaded_at_s=now_s)
        fresh = state.loaded.keys() - before.loaded.keys()
        self.last_sign_s.update(dict.fromkeys(fresh, now_s))
        if fresh and self.is_read:
            log_turn(self.health.loaded(now_s))
        self.is_read = True
        if state.loaded_at_s is not None and state.loaded_at_s != before.loaded_at_s:
            self.others.see(state.loaded, in_flight, state.loaded_at_s, wall_s)
        return self.judged(state, now_s)

    def used(self, model: str, now_s: float) -> None:
        """Take note that a request of ours for a model ended."""
        self.others.ours(model, now_s)
        self.used_at_s = now_s

    def used_since(self, at_s: float | None) -> bool:
        """Tell whether a request of ours ended since; None: long ago."""
        return at_s is None or self.used_at_s >= at_s

    def judged(self, state: InstanceState, now_s: float) -> InstanceState:
        """Return a state with the verdict as it is now."""
        health = self.health
        return replace(
            state,
            health=health.for_routing,
            loads_in_doubt=health.loads_in_doubt,
            why=health.note if health.state is Health.UP else health.evidence,
            others=self.others.using(now_s),
            avoided=self.avoidance.now(now_s),
        )

    def ended(self, grant: Grant, treated: Manner, why: str, around: Around) -> Transition | None:
        """Take the end of a request that was granted to this instance, and how it treated it."""
        now_s = around.now_s
        if treated in (Manner.BEGUN, Manner.SERVED):
            self._lives(grant.model, now_s)
        if treated is Manner.REFUSED:
            return self.health.refused(why, now_s)
        if treated is Manner.BROKE:
            self.health.broken = one_more(self.health.broken, grant.model, now_s)
            return self.health.erred(why, now_s)
        if treated is Manner.FULL:
            self._avoid(ANY_MODEL, why, grant, now_s)
        elif treated is Manner.DENIED:
            # No sign that the model fails: it was not tried.
            self._avoid(grant.model, why, grant, now_s)
        elif treated is Manner.ERRED:
            return self._failed(grant, why, around)
        elif treated is Manner.WAITED:
            return self._waited(grant, around)
        elif treated is Manner.SERVED:
            around.failures.served(grant.model, self.health.instance, grant.caller, now_s)
            self.avoidance.served(grant.model, grant.at_s)
            return self.health.served(now_s)
        return None

    def _lives(self, model: str, now_s: float) -> None:
        self.last_sign_s[model] = now_s
        self.left.pop(model, None)

    def repeated(self, grant: Grant, around: Around) -> Transition | None:
        """Take that a request goes elsewhere: it was refused, cut off, or answered 500 or 503; which, nobody says."""
        on_trial = around.state.on_trial(grant.model)
        turn = None if on_trial == ANY_MODEL else self._failed(grant, REPEATED, around)
        if on_trial is not None:
            self._avoid(on_trial, REPEATED, grant, around.now_s)
        return turn

    def _failed(self, grant: Grant, why: str, around: Around) -> Transition | None:
        """Hold against the instance what is its own."""
        now_s, model = around.now_s, grant.model
        verdict = around.failures.failed(model, self.health.instance, grant.caller, why, around.enough, now_s)
        if verdict is Verdict.MODEL:
            return None
        if verdict is Verdict.HERE:
            self._avoid(model, why, grant, now_s)
        elif verdict is Verdict.INSTANCE:
            return self.health.stalled(why, True, now_s)
        elif verdict is Verdict.OPEN:
            # Another instance tells: if it fails there too, it is the model's own fault. So does a probe, where that
            # loads nothing.
            self._avoid(model, why, grant, now_s)
            return self._ask(model, why, around) if model in around.state.loaded else None
        return None

    def _waited(self, grant: Grant, around: Around) -> Transition | None:
        """Clients that give up early hide an instance that hangs: of theirs, nothing is in flight for long."""
        model, waited_s = grant.model, around.now_s - grant.at_s
        is_warm = grant.tier is Tier.LOADED and model in around.state.loaded
        if not is_warm or waited_s <= FIRST_BYTE_FACTOR * around.expect(model).first_byte_s:
            return None
        self.left[model] += 1
        times = self.left[model]
        why = f"{times} clients in a row left without an answer of {display(model)}, the last after {waited_s:.0f} s"
        return self._ask(model, why, around) if times >= LEAVES else None

    def acquit(self, model: str) -> None:
        """It is the model's own fault that it fails."""
        self.avoidance.lift(model)
        if self.silent == model:
            self.silent = self.health.question = ""

    def _ask(self, model: str, why: str, around: Around) -> Transition | None:
        """Have a probe tell, unless it would only wait in line."""
        if around.beside >= around.expect(model).slots:
            return None
        self.silent = model
        return self.health.stalled(why, False, around.now_s)

    def _avoid(self, model: str, why: str, grant: Grant, now_s: float) -> None:
        log_avoided(self.health.instance, model, why, self.avoidance.add(model, why, grant.at_s, now_s))

    def look(
        self, grants: Sequence[Grant], snapshot: Snapshot, expect: Expect, policy: HealthPolicy
    ) -> Iterator[Transition | None]:
        """Look for requests and loads that do not come to their end."""
        state, activity = snapshot.state(self.health.instance), snapshot.active(self.health.instance)
        running = [grant for grant in grants if grant.model in state.loaded]
        found = stall(running, self.last_sign_s, expect, policy.stall, snapshot.at_s)
        if found is not None:
            self.silent = found.model
            yield self.health.stalled(found.why, found.is_proven, snapshot.at_s)
        why = load_stall(activity.unfinished, activity.in_flight, expect, policy.load_stall, snapshot.at_s)
        if why:
            yield self.health.load_stalled(why, snapshot.at_s)

    def target(self, state: InstanceState) -> Target | None:
        """Return what to probe with, or None when nothing would tell."""
        health = self.health
        of_loads = health.loads_in_doubt and health.for_routing is Health.UP and not health.question
        return target(state, of_loads, self.silent)

    def probed(self, what: Target, failure: str, now_s: float) -> list[Transition]:
        """Take a probe's outcome; `failure` is empty when it was answered."""
        self.others.ours(what.model, now_s)
        if not failure:
            self._lives(what.model, now_s)
            self.silent = ""
            self.avoidance.lift(what.model)
        return self.health.probed(failure, what.is_cold, now_s)


def _with(state: InstanceState, reading: Reading) -> InstanceState:
    """Return a state with what a poll brought in place of what was read before; the rest stays valid with its age."""
    if reading.loaded is not None:
        state = replace(state, loaded=reading.loaded, loaded_at_s=reading.asked_at_s)
    if reading.installed is not None:
        installed = Installed.of(reading.installed)
        # What is loaded was asked for before: what is not listed now was deleted since it was loaded.
        deleted = frozenset() if reading.is_starting else frozenset(state.loaded).difference(reading.installed)
        state = replace(
            state,
            installed=installed.sizes,
            one_by_one=installed.one_by_one,
            trained=installed.trained,
            installed_at_s=reading.asked_at_s,
            deleted=deleted,
            is_starting=reading.is_starting,
        )
    return state if reading.version is None else replace(state, version=reading.version)
