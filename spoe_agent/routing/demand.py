"""What one request demands, and how things stand at one instance: what the terms of the decision are computed from.

Lives here: what is looked up once per request (Demand) or once per request and instance (Site), instead of in every
term.
"""

from __future__ import annotations

from collections.abc import KeysView, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import NamedTuple

from spoe_agent.routing import estimates
from spoe_agent.routing.facts import InstanceLoad, RequestFacts
from spoe_agent.routing.memory import ModelShape
from spoe_agent.routing.names import is_cloud
from spoe_agent.routing.snapshot import Activity, GpuGroup, Health, InstanceState, Snapshot
from spoe_agent.routing.specs import NO_RULE, FleetSpec, InstanceSpec, ModelRule
from spoe_agent.routing.surface import Kind

_WELL = (Health.UP, Health.UNKNOWN)


class About(NamedTuple):
    """What one decision has to know of a model, its own or another, whatever the instance."""

    rule: ModelRule
    weights_bytes: int
    """Size on disk."""
    load_s: float
    """A load from the page cache, where it was not loaded yet."""
    service_s: float
    """A request, where it has not run yet."""


class Models(dict[str, About]):
    """About each model; looked up when it is first asked for, as most instances have the same few."""

    def __init__(self, fleet: FleetSpec, snapshot: Snapshot) -> None:
        super().__init__()
        self._fleet = fleet
        self._snapshot = snapshot

    def has_same_lists(self, fleet: FleetSpec, snapshot: Snapshot) -> bool:
        """Tell whether models have the same rules, sizes and contexts in another moment."""
        ours = self._snapshot
        is_same = fleet is self._fleet and snapshot.shapes is ours.shapes and snapshot.trained is ours.trained
        if not is_same or snapshot.own_contexts is not ours.own_contexts:
            return False
        return snapshot.instances is ours.instances or _are_same(
            [state.installed for state in snapshot.instances.values()],
            [state.installed for state in ours.instances.values()],
        )

    def has_same_times(self, snapshot: Snapshot) -> bool:
        """Tell whether nothing else was learned in another moment."""
        return snapshot.learned is self._snapshot.learned

    def follow(self, snapshot: Snapshot) -> None:
        """Go by another moment, in which all is the same about models."""
        self._snapshot = snapshot

    @cached_property
    def in_use(self) -> frozenset[str]:
        """Models that are asked for often enough to be loaded somewhere."""
        rates = self._snapshot.learned.rate_per_s or {}
        least_per_s = estimates.WANTED / estimates.AGAIN_WITHIN_S
        return frozenset([model for model, per_s in rates.items() if per_s >= least_per_s])

    def __missing__(self, model: str) -> About:
        snapshot, rule = self._snapshot, self._fleet.rule(model)
        if rule.shape is None and model in snapshot.shapes:
            rule = _shaped(rule, snapshot.shapes[model])
        weights = estimates.weights_bytes(model, rule, snapshot)
        self[model] = found = About(
            rule,
            weights,
            estimates.usual_load_s(snapshot.learned, model, weights),
            estimates.usual_service_s(snapshot.learned, model, weights),
        )
        return found


def _are_same(ones: Sequence[object], others: Sequence[object]) -> bool:
    return len(ones) == len(others) and all([one is other for one, other in zip(ones, others, strict=True)])


class Regrets(dict[str, float]):
    """The part of a load that a model's going costs: the chance that it is wanted again, shared with the other
    instances that have it. Looked up when it is first asked for.
    """

    def __init__(self, snapshot: Snapshot) -> None:
        super().__init__()
        self._learned = snapshot.learned
        self._instances = snapshot.instances
        self._leaving = _leaving(snapshot)

    def are_like(self, snapshot: Snapshot) -> bool:
        """Tell whether they are the same in another moment."""
        if snapshot.learned is not self._learned or _leaving(snapshot) != self._leaving:
            return False
        if snapshot.instances is not self._instances:
            if _loaded(snapshot.instances) != _loaded(self._instances):
                return False
            self._instances = snapshot.instances
        return True

    def __missing__(self, model: str) -> float:
        copies = sum([model in loaded for loaded in _loaded(self._instances)])
        copies -= sum([model in gone for gone in self._leaving])
        again = estimates.wanted_again(self._learned, model, estimates.SOON_S)
        self[model] = found = again / max(1, copies)
        return found


def _loaded(instances: Mapping[str, InstanceState]) -> list[KeysView[str]]:
    return [state.loaded.keys() for state in instances.values()]


def _leaving(snapshot: Snapshot) -> list[frozenset[str]]:
    return [activity.leaving for activity in snapshot.activity.values() if activity.leaving]


@lru_cache(maxsize=4096)
def _shaped(rule: ModelRule, shape: ModelShape) -> ModelRule:
    """Return a rule with the shape that Ollama tells. Kept: it is the same for each request until that is another."""
    return replace(rule, shape=shape)


@dataclass(frozen=True, slots=True)
class Demand:
    """What one request needs."""

    facts: RequestFacts
    fleet: FleetSpec
    snapshot: Snapshot
    model: str
    """Canonical key of the model that an instance must have; "" when any instance will do."""
    runs: bool
    """The model must be loaded, not only installed."""
    rule: ModelRule
    weights_bytes: int
    models: Models
    regrets: Regrets
    context: int | None = None
    """Tokens per slot that the request asks for, as far as the model can do them."""

    @classmethod
    def of(
        cls,
        facts: RequestFacts,
        fleet: FleetSpec,
        snapshot: Snapshot,
        models: Models | None = None,
        regrets: Regrets | None = None,
    ) -> Demand:
        """Look up once what the request's model means. Cloud models are forwarded by any Ollama.

        Args:
            facts: the request.
            fleet: the fleet.
            snapshot: everything live.
            models: what is known of models already.
            regrets: the same of what their going costs.
        """
        model = facts.runner
        models = Models(fleet, snapshot) if models is None else models
        regrets = Regrets(snapshot) if regrets is None else regrets
        if model is None or facts.kind is Kind.MANAGE or is_cloud(model):
            return cls(facts, fleet, snapshot, "", False, NO_RULE, 0, models, regrets)
        about = models[model]
        rule = fleet.rule(facts.model or "") if facts.namesake else about.rule
        runs = facts.kind is Kind.INFERENCE
        asked = facts.num_ctx
        context = None if asked is None else min(asked, snapshot.trained.get(model, asked))
        return cls(facts, fleet, snapshot, model, runs, rule, about.weights_bytes, models, regrets, context)

    def load_of(self, model: str, spec: InstanceSpec) -> float:
        """Return the predicted load time of any model on an instance."""
        return estimates.load_s(self.snapshot.learned, model, spec, self.models[model].weights_bytes)

    def service_of(self, instance: str) -> float:
        """Return the predicted time of the request itself on an instance."""
        known = self.snapshot.learned.service_s.get((self.model, instance))
        return self.models[self.model].service_s if known is None else known


class Site:
    """One instance as it is now: never changed."""

    __slots__ = ("activity", "beside", "connections", "gpus", "is_well", "load", "salt", "spec", "state", "unaccounted")

    spec: InstanceSpec
    salt: bytes
    """Its name, by which equals are spread."""
    state: InstanceState
    activity: Activity
    gpus: GpuGroup
    load: InstanceLoad | None
    connections: int
    """Requests on the instance: HAProxy's count, grants too fresh to be in it, and what other processes of HAProxy
    have there; else the board's own."""
    unaccounted: float
    """Connections that the board does not know (from before a restart), spread over the loaded models."""
    beside: int
    """Requests that share the instance's GPUs with another one: ours, and one for each model that others use."""
    is_well: bool
    """Nothing that is known of it speaks against it, whatever is asked."""

    def __init__(
        self, spec: InstanceSpec, state: InstanceState, activity: Activity, gpus: GpuGroup, load: InstanceLoad | None
    ) -> None:
        self.spec = spec
        self.salt = spec.name.encode()
        self.state = state
        self.activity = activity
        self.gpus = gpus
        self.load = load
        own = sum(activity.in_flight.values())
        count = own if load is None else load.connections + load.queued + activity.unseen + activity.elsewhere
        self.connections = count
        self.unaccounted = (count - own) / max(1, len(state.loaded)) if count > own else 0.0
        self.beside = count + len(state.others)
        is_up = load is None or (load.is_up and load.is_of(spec.tag))
        has_doubts = state.loads_in_doubt or state.avoided or state.lost_gpus or gpus.doubt.broken
        self.is_well = is_up and state.health in _WELL and not has_doubts

    @classmethod
    def of(cls, spec: InstanceSpec, facts: RequestFacts, snapshot: Snapshot) -> Site:
        """Look up what is known of an instance."""
        name = spec.name
        return cls(spec, snapshot.state(name), snapshot.active(name), snapshot.gpu(name), facts.loads.get(name))

    def slots(self, demand: Demand) -> int:
        """Requests of the demanded model that run here at a time."""
        is_one = demand.facts.embeds or demand.model in self.state.one_by_one
        return 1 if is_one else demand.rule.slots(self.spec.num_parallel)

    def busy(self, model: str) -> float:
        """Requests of one model on the instance."""
        return self.activity.in_flight.get(model, 0) + self.unaccounted
