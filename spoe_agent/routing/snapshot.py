"""What is known of the fleet at one moment: whole, frozen, dated.

Lives here: readings of each Ollama, the board's account of what is in flight, and what was learned.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from math import inf
from types import MappingProxyType
from typing import NamedTuple

from spoe_agent.routing.memory import ModelShape


class Health(StrEnum):
    """The verdict on an instance; HAProxy's own check speaks through `InstanceLoad.is_up`."""

    UNKNOWN = "unknown"
    """Not heard of yet: nothing against it."""
    UP = "up"
    DOWN = "down"
    """Refuses connections."""
    SUSPECT = "suspect"
    """Answers lists, but there is evidence that it does not answer requests."""
    RECOVERING = "recovering"
    """Was down and answers lists again; no request has been answered yet."""
    DRAINED = "drained"
    """Taken out by hand."""


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """One entry of `/api/ps`."""

    size_bytes: int
    vram_bytes: int
    """Less than `size_bytes` when part of it spilled to the CPU."""
    context_length: int = 0
    """Tokens per slot; 0 when the server does not say (before Ollama 0.9.7)."""
    expires_at_s: float | None = None
    """When it goes if nobody uses it, in seconds since 1970 by the server's clock; None when it does not say."""

    @property
    def spilled_bytes(self) -> int:
        """What of it is not in VRAM."""
        return max(0, self.size_bytes - self.vram_bytes)


ANY_MODEL = ""


class Avoided(NamedTuple):
    """An instance is passed over for a while, as long as another one may serve."""

    until_s: float
    why: str
    """For people."""


@dataclass(frozen=True, slots=True)
class InstanceState:
    """What is believed of one Ollama: its latest readings, and the verdict on it. Times are monotonic seconds; None:
    never read.
    """

    health: Health = Health.UNKNOWN
    loaded: Mapping[str, LoadedModel] = field(default_factory=dict)
    """By canonical key."""
    loaded_at_s: float | None = None
    installed: Mapping[str, int] = field(default_factory=dict)
    """Bytes on disk by canonical key (`/api/tags`)."""
    installed_at_s: float | None = None
    one_by_one: frozenset[str] = frozenset()
    """Models of which Ollama runs one request at a time, whatever its settings are: embeddings, and some families."""
    trained: Mapping[str, int] = field(default_factory=dict)
    """The context that models are trained for, as far as `/api/tags` says."""
    version: str = ""
    why: str = ""
    """What speaks against it, for people; "" when nothing does."""
    others: Mapping[str, float] = field(default_factory=dict)
    """Models that others use past this agent, and how many seconds a request of theirs seems to take."""
    deleted: frozenset[str] = frozenset()
    """Models that are loaded, but were not on the last list: requests for them are answered 404."""
    is_starting: bool = False
    """It has not answered for long, and its list of models is empty: that proves nothing yet."""
    lost_gpus: str = ""
    """Why it seems to have lost its GPUs; "" when it does not."""
    loads_in_doubt: bool = False
    """It serves what is loaded, but loads do not come to their end."""
    own_contexts: Mapping[str, int] = field(default_factory=dict)
    """Tokens per slot that models were loaded with here when nobody asked for any."""
    usual_context: int | None = None
    """What most of these have; None: none was seen."""
    avoided: Mapping[str, Avoided] = field(default_factory=dict)
    """By the model for which it is passed over, or ANY_MODEL; what is over too, until it has served again."""

    def on_trial(self, model: str) -> str | None:
        """Return for what the instance is, or was until lately, passed over: the model, or ANY_MODEL. None: for nothing
        that concerns it, or it has served since.
        """
        return next((key for key in (ANY_MODEL, model) if key in self.avoided), None)


UNKNOWN_STATE = InstanceState()


@dataclass(frozen=True, slots=True)
class Activity:
    """The board's account of one instance: what this agent sent there and what HAProxy counts."""

    in_flight: Mapping[str, int] = field(default_factory=dict)
    """Requests per canonical key that were granted and have not ended."""
    unseen: int = 0
    """Grants so fresh that HAProxy's counts do not show them yet."""
    elsewhere: int = 0
    """Requests of other HAProxy processes than the one that asks, whose counts cannot show them."""
    loading: Mapping[str, float] = field(default_factory=dict)
    """Models granted while not loaded, with the monotonic second of the first such grant."""
    answered: Mapping[str, float] = field(default_factory=dict)
    """Of those, the ones that have answered a request since, and when first: they are loaded, whatever `/api/ps` said
    before."""
    contexts: Mapping[str, int] = field(default_factory=dict)
    """Tokens per slot of those that load with what the request asked for."""
    options: Mapping[str, str] = field(default_factory=dict)
    """What else models were loaded with, where requests asked for something (RequestFacts.runner_options)."""
    mean_in_flight: float = 0.0
    """Requests in flight, averaged over the last minute or so."""
    leaving: frozenset[str] = frozenset()
    """Models that must go: they take no more requests, although `/api/ps` still lists them."""
    reserved: str = ""
    """The model that loads here once those are idle; until then no other load begins."""
    granted_at_s: float = -inf
    """The monotonic second of the latest grant in flight: the later, the more likely its prompt is still being read."""

    @property
    def unfinished(self) -> Mapping[str, float]:
        """Loads that nothing has answered for yet, with their beginning."""
        return {model: since_s for model, since_s in self.loading.items() if model not in self.answered}


NO_ACTIVITY = Activity()


class GpuDoubt(NamedTuple):
    """What GPUs say against an instance; "" when nothing does."""

    slow: str = ""
    """Held down by heat or power: it works, but slower than was learned."""
    broken: str = ""
    """Not to be relied on, or not to be seen: passed over as long as another instance may serve."""


class GpuGroup(NamedTuple):
    """What telemetry says of an instance's GPUs together, fresh enough to count. None: no value."""

    free_bytes: int | None = None
    total_bytes: int | None = None
    foreign_bytes: int | None = None
    """What other programs hold."""
    age_s: float | None = None
    doubt: GpuDoubt = GpuDoubt()
    notes: tuple[str, ...] = ()
    """What people should know of them: memory that others hold, readings that are stale."""


NO_GPUS = GpuGroup()

Pair = tuple[str, str]
"""Canonical model and instance."""

_NONE: Mapping[Pair, float] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Learned:
    """What experience says of times and arrivals: seconds by model and instance, requests per second by model. Where it
    says nothing, `estimates` has priors.
    """

    service_s: Mapping[Pair, float] = field(default_factory=lambda: _NONE)
    """A request's time in a slot, warm."""
    load_s: Mapping[Pair, float] = field(default_factory=lambda: _NONE)
    """A load of a file that is in the page cache."""
    rate_per_s: Mapping[str, float] | None = None
    """None: nothing is known of arrivals. A model that is not in it was not asked for lately."""
    usual_service_s: Mapping[str, float] = field(default_factory=dict)
    """By model, on all instances together: for those where it has not run yet."""
    usual_load_s: Mapping[str, float] = field(default_factory=dict)
    cached: frozenset[Pair] | None = None
    """Models and stores: files that were read so lately that they are in the page cache. None: nothing is known."""
    from_disk: Mapping[str, float] = field(default_factory=dict)
    """By store: how many times the prior a load of a file takes that is not in the page cache."""


NOTHING = Learned()


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything live that a decision may look at."""

    at_s: float
    """Monotonic second at which it was put together."""
    instances: Mapping[str, InstanceState] = field(default_factory=dict)
    activity: Mapping[str, Activity] = field(default_factory=dict)
    learned: Learned = NOTHING
    waiting: int = 0
    """Held requests that the same slots must serve before this one."""
    home: str | None = None
    """The instance that served the beginning of this conversation last."""
    gpus: Mapping[str, GpuGroup] = field(default_factory=dict)
    trained: Mapping[str, int] = field(default_factory=dict)
    """The context that models are trained for, where it is known: Ollama cuts a larger `num_ctx` to it."""
    own_contexts: Mapping[str, int] = field(default_factory=dict)
    """Contexts that models have by themselves: loaded unasked, they had another than most on the same instance."""
    shapes: Mapping[str, ModelShape] = field(default_factory=dict)
    """What models' own files say of the memory that each token takes, where it is known."""

    def state(self, name: str) -> InstanceState:
        """Return an instance's readings, or those of one that was never read."""
        return self.instances.get(name, UNKNOWN_STATE)

    def active(self, name: str) -> Activity:
        """Return the board's account of an instance, empty when nothing was granted to it."""
        return self.activity.get(name, NO_ACTIVITY)

    def gpu(self, name: str) -> GpuGroup:
        """Return what is known of an instance's GPUs."""
        return self.gpus.get(name, NO_GPUS)
