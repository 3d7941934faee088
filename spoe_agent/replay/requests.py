"""The recorded requests as the simulation takes them, and how they are to take as long as they took.

Lengths of prompts and answers are in no log. So what happened is simulated as it happened, each request to the instance
that it went to, when it went there; lengths are changed until times come out as they were, with all that requests took
from each other. Loads alike.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from spoe_agent.agent.ending import STREAMED_S
from spoe_agent.replay.recorded import Decision, Recorded
from spoe_agent.simulator import InstanceProfile, Model
from spoe_agent.simulator.virtual.fleet import step_s
from spoe_agent.simulator.virtual.front import Front
from spoe_agent.simulator.virtual.policy import Assignment, RoutingPolicy
from spoe_agent.simulator.virtual.requests import Request, RequestOutcome
from spoe_agent.simulator.virtual.simulation import Simulation
from spoe_agent.simulator.work import Task, Work

ROUNDS = 8
"""The best of these is taken: its means are within a few percent of what was recorded."""

MOST = 2.0
"""What changes by more in one round does so for another reason than its own length."""

MOST_TOKENS = 1_000_000

_BYTES_PER_TOKEN = 4

NO_ROOM = frozenset({"hold timeout", "queue timeout", "no instance up", "no lists yet"})
"""Reasons to turn a request away that are the fleet's, not the request's: with another fleet it might be served."""


@dataclass(slots=True)
class Told:
    """One recorded request that is replayed; times are the simulated fleet's."""

    decision: Decision
    model: Model
    at_s: float
    """When it came."""
    waited_s: float
    first_s: float
    """From then until its first token; of an answer that came all at once, until its end."""
    total_s: float
    prompt_tokens: float
    output_tokens: float

    @property
    def is_streamed(self) -> bool:
        """Its first token came before its last."""
        return self.total_s - self.first_s > 0

    @property
    def is_sample(self) -> bool:
        """Its times are its own."""
        ended = self.decision.ended
        return ended is not None and ended.is_whole

    @property
    def sent_at_s(self) -> float:
        """When it went to its instance."""
        return self.at_s + self.waited_s

    @property
    def patience_s(self) -> float | None:
        """When its client left; None: it stayed."""
        ended = self.decision.ended
        left = ended is not None and ended.termination.startswith("C")
        return self.total_s if left else None

    def request(self, number: int, at_s: float) -> Request:
        """Return it as the simulation takes it."""
        decision = self.decision
        kind = Task.EMBED if decision.embeds else Task.PRELOAD if decision.only_loads else Task.GENERATE
        work = Work(
            number,
            self.model,
            kind,
            prompt_tokens=max(1, round(self.prompt_tokens)),
            output_tokens=max(1, round(self.output_tokens)),
            num_ctx=decision.num_ctx,
            session=decision.conversation or None,
        )
        return Request(at_s, work, 0.0, 0.0, 0.0, patience_s=self.patience_s)


def told(
    recorded: Recorded, models: Mapping[str, Model], like: InstanceProfile, scale: float, lead_s: float
) -> list[Told]:
    """Return the requests that ran a model, or had no room. The first comes at `lead_s`.

    `scale`: the recorded fleet's seconds were so many times shorter.
    """
    kept = [one for one in recorded.decisions if _is_replayed(one)]
    if not kept:
        return []
    begun_s = kept[0].time
    found = [_told(one, models[one.model or ""], like, scale, lead_s + scale * (one.time - begun_s)) for one in kept]
    _guess_lengths(found, like)
    return found


def _is_replayed(one: Decision) -> bool:
    ran = one.action == "route" and one.ended is not None and one.ended.server == one.instance
    return bool(one.model) and one.kind == "inference" and one.ended is not None and (ran or one.reason in NO_ROOM)


def _told(one: Decision, model: Model, like: InstanceProfile, scale: float, at_s: float) -> Told:
    ended = one.ended
    assert ended is not None
    waited_s, total_s = scale * one.waited_s, scale * ended.total_s
    is_streamed = ended.total_s - ended.first_byte_s > STREAMED_S
    first_s = scale * ended.first_byte_s if is_streamed else total_s
    prompt = max(1.0, one.body_bytes / _BYTES_PER_TOKEN)
    output = 1 + max(0.0, total_s - (first_s if is_streamed else 0.0)) / step_s(model, like)
    return Told(one, model, at_s, waited_s, waited_s + first_s, waited_s + total_s, prompt, output)


def _guess_lengths(found: Sequence[Told], like: InstanceProfile) -> None:
    """What ended badly has no times of its own: it is as long as others of its model."""
    sums: dict[str, tuple[float, int]] = {}
    for one in found:
        if one.is_sample:
            tokens, count = sums.get(one.model.name, (0.0, 0))
            sums[one.model.name] = tokens + one.output_tokens, count + 1
    for one in found:
        if not one.is_sample:
            tokens, count = sums.get(one.model.name, (200.0, 1))
            one.output_tokens = tokens / count


@dataclass(frozen=True, slots=True)
class Beginning:
    """How things were before the first request."""

    warm: Mapping[str, Sequence[Model]]
    """What each instance had loaded."""
    cached: Sequence[Model]
    """Whose files were in the page cache."""


class Again(RoutingPolicy):
    """Sends each request where it went, and has unloaded what was unloaded for it."""

    def __init__(self, requests: Sequence[Told], names: Sequence[str], begun: Beginning) -> None:
        self._requests = requests
        self._names = list(names)
        self._begun = begun
        self._models = {one.model.name: one.model for one in requests}

    def preloads(self) -> Sequence[Sequence[Model]]:
        return [self._begun.warm.get(name, ()) for name in self._names]

    def cached(self) -> Iterable[Model]:
        return self._begun.cached

    def route(self, request: Request, front: Front, now_s: float) -> Assignment:
        return self._names.index(self._requests[request.work.id].decision.instance or "")

    def unloads(self, record: RequestOutcome) -> Iterable[Model]:
        decision = self._requests[record.request.work.id].decision
        return [self._models[name] for name in decision.victims if name in self._models]


def fit(
    requests: Sequence[Told], machines: Mapping[str, InstanceProfile], begun: Beginning
) -> dict[str, InstanceProfile]:
    """Change the requests' lengths until they take as long as they took; return the instances as fast at loading as
    they were.
    """
    ran = sorted((one for one in requests if one.is_sample), key=lambda one: one.sent_at_s)
    ran = [one for one in ran if one.decision.instance in machines]
    best, found = _Fit(math.inf, {}, []), dict(machines)
    for _ in range(ROUNDS):
        work = [one.request(number, one.sent_at_s) for number, one in enumerate(ran)]
        outcome = Simulation(list(found.values()), [None] * len(found), work, Again(ran, list(found), begun)).run()
        records = sorted(outcome.records, key=lambda record: record.request.work.id)
        lengths = [(one.prompt_tokens, one.output_tokens) for one in ran]
        best = min(best, _Fit(_error(ran, records), found, lengths), key=lambda one: one.error)
        found = _with_loads(found, ran, records, begun)
        for one, record in zip(ran, records, strict=True):
            _adjust(one, record)
        _guess_cold(ran)
    for one, (prompt, output) in zip(ran, best.lengths, strict=True):
        one.prompt_tokens, one.output_tokens = prompt, output
    return best.machines or dict(machines)


class _Fit(NamedTuple):
    """One round's; the least error is the best."""

    error: float
    machines: dict[str, InstanceProfile]
    lengths: list[tuple[float, float]]


def _error(requests: Sequence[Told], records: Sequence[RequestOutcome]) -> float:
    """By which factors the sums of times are off, as logarithms."""
    if not requests:
        return 0.0
    first = sum(record.ttft_s for record in records) / sum(one.first_s - one.waited_s for one in requests)
    whole = sum(record.e2e_s for record in records) / sum(one.total_s - one.waited_s for one in requests)
    return abs(math.log(first)) + abs(math.log(whole))


def _adjust(one: Told, record: RequestOutcome) -> None:
    if not record.served:
        return
    first_s = record.ttft_s
    rest_s = record.e2e_s - first_s
    if not one.is_streamed:
        ratio = _bounded((one.total_s - one.waited_s) / max(1e-6, first_s + rest_s))
        one.output_tokens = _tokens(one.output_tokens * ratio)
        return
    if not one.decision.begins_load and one.decision.tier != "loading" and record.load_wait_s == 0:
        one.prompt_tokens = _tokens(one.prompt_tokens * _bounded((one.first_s - one.waited_s) / max(1e-6, first_s)))
    steps = (one.output_tokens - 1) * _bounded((one.total_s - one.first_s) / max(1e-6, rest_s))
    one.output_tokens = _tokens(1 + steps)


def _guess_cold(requests: Sequence[Told]) -> None:
    """Of who waited for a load nobody knows how long its prompt took: as long as others', by the size of its body."""
    sums: dict[str, list[float]] = {}
    for one in requests:
        if one.decision.tier == "loaded" and one.is_streamed:
            tokens, size = sums.setdefault(one.model.name, [0.0, 0.0])
            sums[one.model.name] = [tokens + one.prompt_tokens, size + one.decision.body_bytes]
    for one in requests:
        tokens, size = sums.get(one.model.name, [0.0, 0.0])
        if one.decision.tier != "loaded" and size:
            one.prompt_tokens = _tokens(one.decision.body_bytes * tokens / size)


def _with_loads(
    machines: dict[str, InstanceProfile], requests: Sequence[Told], records: Sequence[RequestOutcome], begun: Beginning
) -> dict[str, InstanceProfile]:
    """Return the machines with loads that take as long as those that were recorded, from disk and from the cache."""
    read = {model.name for model in (*begun.cached, *(model for warm in begun.warm.values() for model in warm))}
    was_s, sim_s = {True: 0.0, False: 0.0}, {True: 0.0, False: 0.0}
    for one, record in zip(requests, records, strict=True):
        if one.decision.begins_load and one.is_streamed and record.first_at_s is not None and record.load_wait_s > 0:
            was_s[one.model.name in read] += one.first_s - one.waited_s
            sim_s[one.model.name in read] += record.ttft_s
        read.add(one.model.name)
    cached, disk = (_bounded(was_s[kind] / sim_s[kind]) if sim_s[kind] else 1.0 for kind in (True, False))
    return {
        name: replace(
            one,
            load_fixed_s=one.load_fixed_s * cached,
            load_bytes_per_s=one.load_bytes_per_s / cached,
            cold_bytes_per_s=one.cold_bytes_per_s / disk,
        )
        for name, one in machines.items()
    }


def _bounded(ratio: float) -> float:
    """Half of the way, on a scale of factors: those beside a request are changed too."""
    return math.sqrt(min(MOST, max(1 / MOST, ratio)))


def _tokens(count: float) -> float:
    return min(MOST_TOKENS, max(1.0, count))
