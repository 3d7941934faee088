"""Whether one instance is believed in: evidence in, states out.

    unknown ─▶ up ─▶ suspect ─▶ up          a request or a probe was answered
               up ─▶ down ─▶ recovering ─▶ up   it refuses connections; lists answer again; a request was answered
    drained: by hand, whatever else is true, until `ready`

An instance is down until a poll is answered; for held requests see `waiting.BELIEVED_DOWN_S`, for HAProxy's own check
`contract.INSTANCE_CHECK`. Pure: no I/O, and time is passed in.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from spoe_agent.agent.statefile import Doubt
from spoe_agent.agent.unserved import Lately
from spoe_agent.fleet import HealthPolicy
from spoe_agent.instances.reading import PollResult, Reading
from spoe_agent.routing.snapshot import Health

REFUSALS_UNTIL_DOWN = 2
"""So many connections refused, of polls or of requests, and it gets nothing until it answers again."""

SILENCES_UNTIL_SUSPECT = 2
"""Polls in a row without a proper answer to anything."""

LONGEST_PAUSE = 10
"""Between two probes, in `probe_interval_s`, where doubt comes back again and again."""

TRUSTED_AFTER = 12
"""So many `probe_interval_s` without doubt, and what was before is forgotten."""


@dataclass(frozen=True, slots=True)
class Transition:
    """One change of state, and what it rests on."""

    instance: str
    before: Health
    after: Health
    evidence: str


class InstanceHealth:
    """The state of one instance. Every method that takes evidence returns the Transition that it makes, if any.

    Two doubts are kept apart. Of one kind, the instance does not answer requests: only an answer lifts it. Of the
    other, it does not get loads done (`loads_in_doubt`): only a load lifts that, and what is loaded is served.
    """

    def __init__(self, instance: str, policy: HealthPolicy, now_s: float) -> None:
        self.instance = instance
        self.since_s = now_s
        self.evidence = "not asked yet"
        self.note = ""
        """What is not against it, but worth knowing: lists that are slow."""
        self.broken: Lately | None = None
        """Requests that broke off, for people: it may be up again before anybody looks."""
        self.loads_in_doubt = False
        self.question = ""
        """Why a probe is wanted although nothing is proven."""
        self.is_drained = False
        self._policy = policy
        self._base = Health.UNKNOWN
        self._shown = Health.UNKNOWN
        self._errors = 0
        self._refused_requests = 0
        self._refused_polls = 0
        self._silences = 0
        self._load_evidence = ""
        self._probe_due_s = now_s
        self._is_probing = False
        self._lists_failed_s = -inf
        self._answered_without_lists = 0
        """Times that probes were answered while lists failed."""
        self._relapses = 0
        self._believed_s = -inf

    def doubt(self) -> Doubt | None:
        """Return what the next agent must know; None: nothing that its own polls would not show."""
        if self._base not in (Health.SUSPECT, Health.RECOVERING) and not self.loads_in_doubt:
            return None
        return Doubt(self._base, self.evidence, self.loads_in_doubt, self._load_evidence)

    def take(self, doubt: Doubt, now_s: float) -> Transition | None:
        """Go on doubting as an agent before this one did. Who is down, the polls tell."""
        if self._base is Health.DOWN:
            return None
        if doubt.loads_in_doubt:
            self._doubt_loads(True, doubt.load_evidence, now_s)
        if doubt.base in (Health.SUSPECT, Health.RECOVERING):
            return self._enter(doubt.base, doubt.evidence, now_s)
        return self._show(doubt.evidence, now_s)

    def adopt(self, policy: HealthPolicy) -> None:
        """Judge by another policy from now on."""
        self._policy = policy

    @property
    def state(self) -> Health:
        """What people are told."""
        if self.is_drained:
            return Health.DRAINED
        return Health.SUSPECT if self._base is Health.UP and self.loads_in_doubt else self._base

    @property
    def for_routing(self) -> Health:
        """What decisions are told beside `loads_in_doubt`: who cannot load still serves what is loaded."""
        return Health.DRAINED if self.is_drained else self._base

    @property
    def is_gone(self) -> bool:
        """So many polls were refused since the last answer that nothing can be loaded there any more."""
        return self._refused_polls >= REFUSALS_UNTIL_DOWN

    def polled(self, reading: Reading, now_s: float) -> Transition | None:
        """Take what a poll brought. Once refused may be a restart, and slow lists prove nothing: Ollama's block while
        it loads or unloads.
        """
        self.note = ""
        self._silences = self._silences + 1 if reading.outcome is PollResult.SILENT else 0
        if reading.outcome is PollResult.ANSWERED:
            return self._lists_come(now_s)
        if reading.outcome is PollResult.REFUSED:
            self._refused_polls += 1
            if self.is_gone:
                return self._enter(Health.DOWN, reading.why, now_s)
        self.note = reading.why
        return self._lists_fail(reading.why, now_s)

    def _lists_come(self, now_s: float) -> Transition | None:
        self._refused_polls = 0
        if now_s - self._lists_failed_s > TRUSTED_AFTER * self._policy.probe_interval:
            self._answered_without_lists = 0
        if self._base is Health.DOWN:
            return self._enter(Health.RECOVERING, "lists answer again; not yet a request", now_s)
        self._refused_requests = 0
        return self._enter(Health.UP, "lists answer", now_s) if self._base is Health.UNKNOWN else None

    def _lists_fail(self, why: str, now_s: float) -> Transition | None:
        """Doubt who lists nothing, until a request or a probe is answered all the same. Then lists say no more, as long
        as they go on failing; now and then a probe asks again.
        """
        if self._silences < SILENCES_UNTIL_SUSPECT:
            return None
        self._lists_failed_s = now_s
        if self._base not in (Health.UP, Health.UNKNOWN):
            return None
        if not self._answered_without_lists:
            return self._enter(Health.SUSPECT, why, now_s)
        if now_s >= self._probe_due_s:
            self.question = why
        return None

    def refused(self, why: str, now_s: float) -> Transition | None:
        """A request could not connect."""
        self._refused_requests += 1
        return self._enter(Health.DOWN, why, now_s) if self._refused_requests >= REFUSALS_UNTIL_DOWN else None

    def erred(self, why: str, now_s: float) -> Transition | None:
        """A request's connection broke. What was answered with an error is another matter (`failures`)."""
        self._errors += 1
        if self._base is not Health.UP or self._errors < self._policy.errors:
            return None
        return self._enter(Health.SUSPECT, why, now_s)

    def served(self, now_s: float, why: str = "a request was answered") -> Transition | None:
        """A request ran to its end: that is what counts."""
        self._errors = self._refused_requests = 0
        self.question = ""
        turn = None if self._base is Health.UP else self._enter(Health.UP, why, now_s)
        if self.note and not self._answered_without_lists:
            self._answered_without_lists = 1
            self._probe_due_s = now_s + self._pause_s(1)
        return turn

    def stalled(self, why: str, is_proven: bool, now_s: float) -> Transition | None:
        """A model gives no answers, or wrong ones. Unless that is proof enough, a probe is to tell."""
        if self._base is not Health.UP:
            return None
        if is_proven:
            return self._enter(Health.SUSPECT, why, now_s)
        self.question = why
        return None

    def load_stalled(self, why: str, now_s: float) -> Transition | None:
        """A load does not come to its end."""
        return None if self.loads_in_doubt else self._doubt_loads(True, why, now_s)

    def loaded(self, now_s: float) -> Transition | None:
        """A model was loaded."""
        return self._doubt_loads(False, "a model was loaded", now_s) if self.loads_in_doubt else None

    def drain(self, now_s: float, why: str = "by hand") -> Transition | None:
        """Take it out by hand."""
        self.is_drained = True
        return self._show(why, now_s)

    def ready(self, now_s: float) -> Transition | None:
        """Let it serve again, as far as the rest allows."""
        self.is_drained = False
        return self._show("by hand", now_s)

    def wants_probe(self, now_s: float) -> bool:
        """Tell whether a probe is due."""
        doubted = self._base in (Health.SUSPECT, Health.RECOVERING) or self.loads_in_doubt or bool(self.question)
        return doubted and not self._is_probing and now_s >= self._probe_due_s

    def probing(self) -> None:
        """A probe is under way."""
        self._is_probing = True

    def probe_given_up(self) -> None:
        """A probe has no outcome: the agent stops."""
        self._is_probing = False

    def probed(self, failure: str, is_cold: bool, now_s: float) -> list[Transition]:
        """Take a probe's outcome; `failure` is empty when it was answered, `is_cold` when it had to load a model."""
        self._is_probing = False
        self._probe_due_s = now_s + self._policy.probe_interval
        if not failure:
            lifted = self.loaded(now_s) if is_cold else None
            turns = [turn for turn in (lifted, self.served(now_s, "a probe was answered")) if turn is not None]
            if self.note:
                self._answered_without_lists += 1
                self._probe_due_s = now_s + self._pause_s(self._answered_without_lists)
            return turns
        why = f"{self.question}; probe: {failure}" if self.question else f"probe: {failure}"
        turn = self._enter(Health.SUSPECT, why, now_s) if self._base is Health.UP and self.question else None
        self._probe_due_s = now_s + self._policy.probe_interval
        self.question = ""
        return [] if turn is None else [turn]

    def _pause_s(self, times: int) -> float:
        """Return how long to wait with a probe that was answered so many times before, in vain."""
        return self._policy.probe_interval * min(2.0 ** min(times, LONGEST_PAUSE) - 1.0, LONGEST_PAUSE)

    def _doubt_loads(self, doubt: bool, why: str, now_s: float) -> Transition | None:
        self.loads_in_doubt = doubt
        self._load_evidence = why if doubt else ""
        return self._show(why, now_s)

    def _enter(self, base: Health, why: str, now_s: float) -> Transition | None:
        if base is self._base:
            return None
        if base is Health.SUSPECT:
            is_relapse = now_s - self._believed_s < TRUSTED_AFTER * self._policy.probe_interval
            self._relapses = self._relapses + 1 if is_relapse else 0
        if base is Health.UP and self._base is Health.SUSPECT:
            self._believed_s = now_s
        self._base = base
        # Who was just believed and fails again is not believed at the first answer.
        self._probe_due_s = now_s + (self._pause_s(self._relapses) if base is Health.SUSPECT else 0.0)
        if base is Health.DOWN:
            self.question, self.loads_in_doubt = "", False
        if base is Health.UP:
            why = self._load_evidence if self.loads_in_doubt else why
        return self._show(why, now_s)

    def _show(self, why: str, now_s: float) -> Transition | None:
        """Show the state that results, dated when it is another than before."""
        before, self._shown = self._shown, self.state
        if before is self._shown:
            return None
        self.evidence, self.since_s = why, now_s
        return Transition(self.instance, before, self._shown, why)
