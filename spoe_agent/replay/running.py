"""A replay: what was recorded, simulated again with another fleet's agent, and both side by side."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import log

from spoe_agent.agent.learner import Learner, Mean
from spoe_agent.fleet import Fleet, specs
from spoe_agent.process.quiet import quiet
from spoe_agent.replay import machines
from spoe_agent.replay.recorded import NoLog, Recorded, RecordedFleet
from spoe_agent.replay.requests import Beginning, Told, fit, told
from spoe_agent.routing import Action, Choice, FleetSpec, RequestFacts
from spoe_agent.routing.choice import EVICT, RELOAD, ROOM
from spoe_agent.routing.names import canonical
from spoe_agent.routing.specs import Weights
from spoe_agent.routing.wishes import Wishes
from spoe_agent.simulator import Model
from spoe_agent.simulator.virtual.front import Front
from spoe_agent.simulator.virtual.pointsman import PointsmanPolicy, Variant
from spoe_agent.simulator.virtual.policy import Assignment
from spoe_agent.simulator.virtual.requests import CLIENT_LEFT, Request, RequestOutcome
from spoe_agent.simulator.virtual.simulation import Simulation

_LOADS = (ROOM, EVICT, RELOAD)

_LOAD_BYTES_PER_S, _LOAD_LEAST_S = 1e9, 5.0
"""What was loaded at the beginning is loaded before it, not faster than this."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One request, recorded or replayed. Times are seconds of the recorded fleet."""

    model: str
    at_s: float
    """Since the first."""
    first_s: float | None
    """From its arrival to the first token, or to the end of an answer that came all at once; None: it had none."""
    waited_s: float
    """In the held queue, and for a connection of its instance."""
    begins_load: bool
    failed: bool
    """It was turned away, or broken off by the fleet."""


@dataclass(frozen=True, slots=True)
class Replay:
    """Both, in the same order."""

    was: tuple[Sample, ...]
    would: tuple[Sample, ...]


class _Router(PointsmanPolicy):
    """The agent of another fleet, asked for recorded requests."""

    def __init__(
        self,
        requests: Sequence[Told],
        spec: FleetSpec,
        fleet: Fleet,
        known: RecordedFleet,
        begun: Beginning,
        scale: float,
    ) -> None:
        models = {one.model.name: one.model for one in requests}
        stores = {name: frozenset(map(canonical, listed)) for name, listed in known.stores.items()}
        health = fleet.policies.health
        super().__init__(spec, tuple(models.values()), Variant(time_scale=scale), stores=stores, health=health)
        self.poll_interval_s = fleet.policies.poll.interval * scale
        self.agent.learner.take(learned(known, spec))
        self._requests = requests
        self._numbers = {one.decision.id: number for number, one in enumerate(requests)}
        self.began: set[int] = set()
        """Requests that a model was to be loaded for."""
        self._begun = begun

    preload_keep_alive_s = None

    def _id(self, request_id: int) -> str:
        """By their ids the agent tells equals apart, so they are those of then."""
        return self._requests[request_id].decision.id

    def _number(self, request_id: str) -> int:
        return self._numbers[request_id]

    def preloads(self) -> Sequence[Sequence[Model]]:
        return [self._begun.warm.get(name, ()) for name in self._names]

    def cached(self) -> Iterable[Model]:
        return self._begun.cached

    def _verdict(self, request_id: int, choice: Choice) -> Assignment:
        if choice.tier in _LOADS and choice.action is Action.ROUTE:
            self.began.add(request_id)
        return super()._verdict(request_id, choice)

    def _facts(self, request: Request, front: Front) -> RequestFacts:
        decision = self._requests[request.work.id].decision
        instance = decision.wants_instance if decision.wants_instance in self._names else ""
        return replace(
            super()._facts(request, front),
            caller=decision.caller,
            body_bytes=decision.body_bytes,
            embeds=decision.embeds,
            only_loads=decision.only_loads,
            wishes=Wishes(instance, decision.wants_priority, decision.wants_wait_s),
        )


def replay(recorded: Recorded, fleet: Fleet, weights: Weights, scale: float = 1.0) -> Replay:
    """Replay a log. `scale`: the recorded fleet was a simulated one that ran so many times faster. Raises NoLog."""
    was, models, known = machines.as_recorded(recorded), machines.models(recorded), recorded.first()
    cached = [models[name] for names in known.cached.values() for name in names if name in models]
    begun = Beginning(_warm(recorded, models), cached)
    lead_s = max((sum(map(_lead_s, loaded)) for loaded in begun.warm.values()), default=0.0)
    requests = told(recorded, models, next(iter(was.values())), scale, lead_s)
    if not requests:
        raise NoLog("it has no request that ran a model")
    with quiet():
        was = fit(requests, was, begun)
        would, spec = machines.as_in(fleet, was), specs(fleet)
        spec = replace(spec, policy=replace(spec.policy, weights=weights))
        router = _Router(requests, spec, fleet, known, begun, scale)
        work = [one.request(number, one.at_s) for number, one in enumerate(requests)]
        limits = [one.max_connections for one in fleet.instances]
        outcome = Simulation(list(would.values()), limits, work, router).run()
    records = {record.request.work.id: record for record in outcome.records}
    return Replay(
        tuple(_was(one, lead_s, scale) for one in requests),
        tuple(
            _would(one, records[number], number in router.began, lead_s, scale) for number, one in enumerate(requests)
        ),
    )


def _warm(recorded: Recorded, models: Mapping[str, Model]) -> dict[str, list[Model]]:
    """Return what each instance had loaded at the beginning: what was read first, and what was there when it was asked
    for first, less what was loaded until then.
    """
    known, seen = recorded.first(), dict[tuple[str, str], str | None]()
    for one in recorded.decisions:
        if one.action == "route" and one.instance and one.model:
            seen.setdefault((one.instance, one.model), one.tier)
    new = {(one.instance, one.model) for one in recorded.decisions if one.time < known.time and one.begins_load}
    there = {(name, model) for name, one in known.instances.items() for model in one.loaded} - new
    there |= {pair for pair, tier in seen.items() if tier == "loaded"}
    return {
        name: [models[model] for where, model in sorted(there) if where == name][: one.max_loaded_models]
        for name, one in known.instances.items()
    }


def _lead_s(model: Model) -> float:
    return _LOAD_LEAST_S + model.size_bytes / _LOAD_BYTES_PER_S


def learned(known: RecordedFleet, spec: FleetSpec) -> Learner:
    """Return what the recorded agent knew at the beginning, as far as the instances are there."""
    there = {one.name for one in spec.instances}

    def means(rows: Sequence[tuple[str, str, float, int]]) -> dict[tuple[str, str], Mean]:
        return {
            (canonical(model), name): Mean(log(seconds), samples)
            for model, name, seconds, samples in rows
            if name in there and seconds > 0
        }

    was = known.learned
    return Learner(
        service=means(was.service_s),
        load=means(was.load_s),
        from_disk={store: Mean(log(ratio), samples) for store, (ratio, samples) in was.from_disk.items() if ratio > 0},
        cached={store: _sizes(models, known.stores.get(store, {})) for store, models in known.cached.items()},
        first_byte=means(was.first_byte_s),
    )


def _sizes(models: Sequence[str], listed: Mapping[str, int]) -> dict[str, int]:
    return {canonical(model): listed[model] for model in models if model in listed}


def _was(one: Told, lead_s: float, scale: float) -> Sample:
    ended = one.decision.ended
    turned_away = one.decision.action != "route"
    broken = not one.is_sample and one.patience_s is None
    return Sample(
        one.model.name,
        (one.at_s - lead_s) / scale,
        one.first_s / scale if one.is_sample and ended is not None else None,
        one.waited_s / scale,
        one.decision.begins_load and not turned_away,
        turned_away or broken,
    )


def _would(one: Told, record: RequestOutcome, begins_load: bool, lead_s: float, scale: float) -> Sample:
    sent_at_s = record.ended_at_s if record.sent_at_s is None else record.sent_at_s
    first_s = record.ttft_s if one.is_streamed else record.e2e_s
    return Sample(
        one.model.name,
        (one.at_s - lead_s) / scale,
        first_s / scale if record.served else None,
        (sent_at_s - record.request.at_s) / scale,
        begins_load,
        record.status != CLIENT_LEFT and not record.served,
    )
