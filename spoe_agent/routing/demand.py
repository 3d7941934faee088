"""What one request demands, and how things stand at one instance: what the terms of the decision are computed from.

Lives here: what is looked up once per request (Demand) or once per request and instance (Site), instead of in every
term.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import NamedTuple

from spoe_agent.routing import estimates
from spoe_agent.routing.facts import InstanceLoad, RequestFacts
from spoe_agent.routing.memory import ModelShape
from spoe_agent.routing.names import is_cloud
from spoe_agent.routing.snapshot import Activity, InstanceState, Snapshot
from spoe_agent.routing.specs import NO_RULE, FleetSpec, InstanceSpec, ModelRule
from spoe_agent.routing.surface import Kind


class About(NamedTuple):
    """What one decision has to know of a model, its own or another, whatever the instance."""

    rule: ModelRule
    weights_bytes: int
    """Size on disk."""
    load_s: float
    """A load from the page cache, where it was not loaded yet."""
    service_s: float
    """A request, where it has not run yet."""
    regret: float
    """Part of a load that its going costs: the chance that it is wanted again, shared with the other instances that
    have it.
    """


class Models(dict[str, About]):
    """About each model; looked up when it is first asked for, as most instances have the same few."""

    def __init__(self, fleet: FleetSpec, snapshot: Snapshot) -> None:
        super().__init__()
        self._fleet = fleet
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
        copies = sum([model in state.loaded for state in snapshot.instances.values()])
        copies -= sum([model in activity.leaving for activity in snapshot.activity.values()])
        again = estimates.wanted_again(snapshot.learned, model, estimates.SOON_S)
        self[model] = found = About(
            rule,
            weights,
            estimates.usual_load_s(snapshot.learned, model, weights),
            estimates.usual_service_s(snapshot.learned, model, weights),
            again / max(1, copies),
        )
        return found


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
    context: int | None = None
    """Tokens per slot that the request asks for, as far as the model can do them."""

    @classmethod
    def of(cls, facts: RequestFacts, fleet: FleetSpec, snapshot: Snapshot) -> Demand:
        """Look up once what the request's model means. Cloud models are forwarded by any Ollama."""
        model, models = facts.runner, Models(fleet, snapshot)
        if model is None or facts.kind is Kind.MANAGE or is_cloud(model):
            return cls(facts, fleet, snapshot, "", False, NO_RULE, 0, models)
        about = models[model]
        rule = fleet.rule(facts.model or "") if facts.namesake else about.rule
        runs = facts.kind is Kind.INFERENCE
        asked = facts.num_ctx
        context = None if asked is None else min(asked, snapshot.trained.get(model, asked))
        return cls(facts, fleet, snapshot, model, runs, rule, about.weights_bytes, models, context)

    def load_of(self, model: str, spec: InstanceSpec) -> float:
        """Return the predicted load time of any model on an instance."""
        return estimates.load_s(self.snapshot.learned, model, spec, self.models[model].weights_bytes)

    def service_of(self, instance: str) -> float:
        """Return the predicted time of the request itself on an instance."""
        known = self.snapshot.learned.service_s.get((self.model, instance))
        return self.models[self.model].service_s if known is None else known


class Site(NamedTuple):
    """One instance as it is now. A NamedTuple, because one is made for every instance on every request."""

    spec: InstanceSpec
    state: InstanceState
    activity: Activity
    load: InstanceLoad | None
    granted: int
    """Requests on the instance that the board knows."""
    connections: int
    """Requests on the instance: HAProxy's count, grants too fresh to be in it, and what other processes of HAProxy
    have there; else the board's own."""
    unaccounted: float
    """Connections that the board does not know (from before a restart), spread over the loaded models."""

    @classmethod
    def of(cls, spec: InstanceSpec, facts: RequestFacts, snapshot: Snapshot) -> Site:
        """Look up once what is known of an instance."""
        name = spec.name
        activity = snapshot.active(name)
        load = facts.loads.get(name)
        own = sum(activity.in_flight.values())
        count = own if load is None else load.connections + load.queued + activity.unseen + activity.elsewhere
        state = snapshot.state(name)
        unaccounted = (count - own) / max(1, len(state.loaded)) if count > own else 0.0
        return cls(spec, state, activity, load, own, count, unaccounted)

    def slots(self, demand: Demand) -> int:
        """Requests of the demanded model that run here at a time."""
        is_one = demand.facts.embeds or demand.model in self.state.one_by_one
        return 1 if is_one else demand.rule.slots(self.spec.num_parallel)

    @property
    def beside(self) -> int:
        """Requests that share the instance's GPUs with another one: ours, and one for each model that others use."""
        return self.connections + len(self.state.others)

    def busy(self, model: str) -> float:
        """Requests of one model on the instance."""
        return self.activity.in_flight.get(model, 0) + self.unaccounted
