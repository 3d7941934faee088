"""The fleet as routing sees it: what never changes while requests flow.

Lives here: frozen specifications of instances, model rules and policy. `spoe_agent.fleet` makes them from the fleet
file.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from spoe_agent.routing.memory import ModelShape
from spoe_agent.routing.names import matches
from spoe_agent.routing.snapshot import Activity


@dataclass(frozen=True, slots=True)
class InstanceSpec:
    """One Ollama server and the GPU group it is bound to."""

    name: str
    max_connections: int
    """Requests that HAProxy lets through at a time; more wait in the server's queue."""
    num_parallel: int = 1
    """Slots per loaded model (OLLAMA_NUM_PARALLEL)."""
    max_loaded_models: int = 3
    """OLLAMA_MAX_LOADED_MODELS, resolved: Ollama's 0 means 3 per GPU (server/sched.go)."""
    vram_bytes: int | None = None
    """Memory of the whole GPU group; None: not known, then only `max_loaded_models` limits; 0: it runs on the CPU."""
    context_length: int | None = None
    """OLLAMA_CONTEXT_LENGTH in tokens; None: Ollama's own choice by VRAM."""
    cache_element_bytes: float = 2.0
    """One number of the key-value cache (OLLAMA_KV_CACHE_TYPE): f16 unless told otherwise."""
    store: str = ""
    """Instances with the same one share a model store."""
    says: frozenset[str] = frozenset()
    """Which of `num_parallel`, `max_loaded_models`, `max_connections` the fleet file gives; others are worked out."""
    tag: str = ""
    """Stands for its address, as haproxy.cfg sends it along with its counts; "": not compared."""


@dataclass(frozen=True, slots=True)
class ModelRule:
    """What the fleet file says of the models that match."""

    match: str
    """A name (`llama3`, `llama3.1:70b`) or a pattern (`hf.co/*`), as `names.matches` reads it."""
    instances: tuple[str, ...] | None = None
    """Pins: only these instances serve the model."""
    num_parallel: int | None = None
    """Slots per instance when not the instance's own (1 for families that Ollama forces to 1)."""
    vram_bytes: int | None = None
    """Memory the model takes when loaded, when the user knows it."""
    size_bytes: int | None = None
    """Weights on disk, when no instance lists it yet."""
    shape: ModelShape | None = None
    """What each token takes, when the user or `pointsman plan` knows it."""
    max_concurrent: int | None = None
    """Requests of the model that run at a time in the whole fleet."""
    priority: int = 0
    """Class in the held queue; lower is more urgent."""
    hold_s: float | None = None
    """How long its requests are held; None: as long as others."""
    stays: bool | None = None
    """Whether it is kept loaded beyond its time while no other needs the room; None: while it is asked for."""

    def slots(self, usual: int) -> int:
        """Return how many requests of the model an instance runs at a time that runs as many of others as `usual`."""
        return self.num_parallel or usual

    def is_at_limit(self, model: str, activity: Iterable[Activity]) -> bool:
        """Tell whether as many requests of the model as may run at a time do, given the account of every instance."""
        limit = self.max_concurrent
        return limit is not None and sum([there.in_flight.get(model, 0) for there in activity]) >= limit


NO_RULE = ModelRule(match="*")


@dataclass(frozen=True, slots=True)
class Weights:
    """How much each part of the price to others counts against the request's own seconds."""

    load: float = 1.5
    """A second of loading costs the others on the instance so much of what it costs the request that waits for it.
    So a new copy must save more than its load, and a burst joins a load under way instead of starting others."""
    evict: float = 0.6
    """A victim's reload, times the chance that it is wanted again."""
    spread: float = 3.0
    """What a new copy saves its model's later requests, where the instances that have it are busier."""
    share: float = 0.35
    """What requests on the same GPUs take from each other (`cost._share`): they are beside each other for a part of
    their time only."""
    prefix: float = 1.0
    """Prefill that a cached prefix saves."""


@dataclass(frozen=True, slots=True)
class Policy:
    """Bounds that hold for the whole fleet."""

    max_age_s: float = 10.0
    """Beyond this age a reading of `/api/ps` no longer proves that a model is loaded."""
    retry_after_s: int = 5
    """What a caller who is turned away for want of an instance is told to wait."""
    max_inspected_bytes: int = 31 * 1024 * 1024
    """How much of a body the front end looks at for `model`."""
    hold_s: float = 0.0
    """How long a request may be held until a slot is free; 0: none is held, it waits in the front end or in Ollama."""
    weights: Weights = field(default_factory=Weights)
    caller_weights: Mapping[str, float] = field(default_factory=dict)
    """Shares of held requests by caller; who is not named has 1."""


@dataclass(frozen=True, slots=True)
class FleetSpec:
    """Instances in file order, rules in file order (the first that matches holds), policy."""

    instances: tuple[InstanceSpec, ...]
    rules: tuple[ModelRule, ...] = ()
    policy: Policy = field(default_factory=Policy)

    def rule(self, model: str) -> ModelRule:
        """Return the first rule that matches the canonical key, or `NO_RULE`."""
        return next((rule for rule in self.rules if matches(rule.match, model)), NO_RULE)

    def hold_s(self, model: str) -> float:
        """Return how long requests of a model are held."""
        own = self.rule(model).hold_s
        return self.policy.hold_s if own is None else own

    @property
    def longest_hold_s(self) -> float:
        """How long any request is held."""
        return max([self.policy.hold_s, *(rule.hold_s for rule in self.rules if rule.hold_s is not None)])
