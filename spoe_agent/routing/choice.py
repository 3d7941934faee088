"""The answer of the decision, with all its reasons.

Lives here: Choice and what it is made of. The same object feeds SPOE variables, logs, `x-pointsman` and the demo's
table.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from types import MappingProxyType
from typing import NamedTuple

from spoe_agent.routing.snapshot import Pair


class Action(StrEnum):
    """What the front end is to do."""

    ROUTE = "route"
    HOLD = "hold"
    """Wait: the answer is given when a slot is free."""
    REJECT = "reject"


class Exclusion(StrEnum):
    """Why an instance may not serve a request."""

    NOT_PINNED = "not pinned"
    NOT_ASKED_FOR = "not asked for"
    """The request wants another instance, and no other."""
    NOT_INSTALLED = "not installed"
    NO_LISTS = "no lists yet"
    """It has just started, and tells of no models at all."""
    CANNOT_FIT = "cannot fit"
    NOT_IN_HAPROXY = "not in HAProxy yet"
    """The HAProxy that asks does not have it, or has it at another address: it was not reloaded since."""
    DOWN = "down"
    DRAINED = "drained"
    SUSPECT = "suspect"
    """Passed over, because another instance may serve that nothing speaks against."""
    GPU = "gpu"
    """The same, for its GPUs."""


class Reason(StrEnum):
    """Why a request goes where it goes, or nowhere: for headers, logs and people, in these words."""

    LOADED = "loaded"
    """The tiers of those that run a model, see Tier."""
    LOADING = "loading"
    RELOAD = "reload"
    ROOM = "room"
    EVICT = "evict"
    INFERENCE = "inference"
    """The kinds of those that need no model loaded, see Kind: this one is a cloud model's."""
    DESCRIBE = "describe"
    MANAGE = "manage"
    LIST = "list"
    UNLOAD = "unload"
    UNREADABLE = "unreadable"
    BAD_NAME = "bad model name"
    BAD_HEADER = "bad header"
    TOO_LARGE = "too large"
    FOREIGN_ORIGIN = "foreign origin"
    FOREIGN_HOST = "foreign host"
    NO_KEY = "no key"
    UNKNOWN_KEY = "unknown key"
    EXPIRED_KEY = "expired key"
    NOT_ALLOWED = "not allowed"
    """The key is not for this model: to its holder there is none of this name."""
    NO_RIGHT = "no right"
    """The key is not for what was asked."""
    TOO_OFTEN = "too often"
    TOO_MANY = "too many"
    """At a time."""
    NOT_FOUND = "not found"
    CANNOT_FIT = "cannot fit"
    NO_INSTANCE_UP = "no instance up"
    NO_LISTS = "no lists yet"
    HOLD_TIMEOUT = "hold timeout"
    QUEUE_TIMEOUT = "queue timeout"
    """It had an instance, but no connection of it came free in time."""
    CROWDED = "crowded"
    """Too many large bodies wait to be read."""
    TOO_LATE = "too late"
    """It ended before it was decided."""
    CLIENT_LEFT = "client left"
    """It ended while it was held, or comes around again."""


STATUS: Mapping[Reason, int] = MappingProxyType(
    {
        Reason.UNREADABLE: 400,
        Reason.BAD_NAME: 400,
        Reason.BAD_HEADER: 400,
        Reason.TOO_LARGE: 413,
        Reason.FOREIGN_ORIGIN: 403,
        Reason.FOREIGN_HOST: 403,
        Reason.NO_KEY: 401,
        Reason.UNKNOWN_KEY: 401,
        Reason.EXPIRED_KEY: 401,
        Reason.NOT_ALLOWED: 404,
        Reason.NO_RIGHT: 403,
        Reason.TOO_OFTEN: 429,
        Reason.TOO_MANY: 429,
        Reason.NOT_FOUND: 404,
        # Not 503: clients would try again, and again in vain.
        Reason.CANNOT_FIT: 400,
        Reason.NO_INSTANCE_UP: 503,
        Reason.NO_LISTS: 503,
        Reason.HOLD_TIMEOUT: 503,
        Reason.QUEUE_TIMEOUT: 503,
        Reason.CROWDED: 503,
        Reason.TOO_LATE: 503,
        Reason.CLIENT_LEFT: 503,
    }
)
"""HTTP status by reason to reject."""

PASSING = frozenset({Reason.NO_INSTANCE_UP, Reason.NO_LISTS})
"""Reasons to reject that may be gone in a moment: who is held waits for that."""


class Tier(IntEnum):
    """How warm an instance is for the model; the order is the order of preference among equally fast ones."""

    LOADED = 0
    LOADING = 1
    RELOAD = 2
    """Loaded with another context, or other options of that kind: Ollama unloads and loads it again."""
    ROOM = 3
    EVICT = 4


LOADED, LOADING, RELOAD, ROOM, EVICT = Tier
"""The same, to be compared with often: a member looked up in its class takes Python 3.11 ten times as long."""


class Cost(NamedTuple):
    """Predicted seconds until the first token, term by term, and the price to others.

    Cost and Candidate are NamedTuples, because one of each is made for every instance on every request.
    """

    wait_s: float = 0.0
    """For a slot, or for a connection of the instance's limit."""
    load_s: float = 0.0
    """Loading the model, or what is left of a load under way."""
    behind_s: float = 0.0
    """Other loads before it (Ollama loads one model at a time, server/sched.go), and waiting until models are gone."""
    price_s: float = 0.0
    """What a new load takes from others: GPU time, and the models that must go and come back later."""
    share_s: float = 0.0
    """Slowdown by, and of, requests that run on the same GPUs."""
    slow_s: float = 0.0
    """What GPUs that are held down, or a model that is partly on the CPU, add to the request's own time."""
    prefix_s: float = 0.0
    """Prefill saved, as a negative number, where the conversation's beginning is cached."""

    @property
    def total_s(self) -> float:
        """Sum of the terms: what is compared."""
        return sum(self)


FREE = Cost()


class Candidate(NamedTuple):
    """One instance in one decision: either excluded with a reason, or with its tier and cost."""

    instance: str
    exclusion: Exclusion | None = None
    detail: str = ""
    """For people: what exactly excludes it, or makes it slower."""
    tier: Tier | None = None
    """None when excluded, and for requests that need no model loaded."""
    cost: Cost = FREE
    victims: tuple[str, ...] = ()
    """Models that must go for it, by canonical key: idle ones first, then the least missed."""
    has_slot: bool = True
    """It could run there now, or as soon as it is loaded."""


class Writing(NamedTuple):
    """A change as it is made in one model store."""

    store: tuple[str, ...]
    """The instances that have this store."""
    writers: tuple[str, ...]
    """Those of them that can make the change; the first does, another where that refuses the connection."""
    why: str = ""
    """Why there are none."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What to do with a request, and why."""

    action: Action
    reason: Reason
    instance: str | None = None
    """Set when the action is ROUTE, unless there are `writings`; when it is HOLD, where it would wait least as things
    are."""
    tier: Tier | None = None
    message: str = ""
    """What a rejected caller is told, without the dialect's wrapping."""
    retry_after_s: int | None = None
    candidates: tuple[Candidate, ...] = ()
    """Every instance of the fleet, in file order."""
    failed: tuple[str, ...] = ()
    """Instances that did not take it before."""
    unloads: tuple[Pair, ...] = ()
    """Of a request to unload a model: what must be unloaded too, as it goes to one instance only."""
    writings: tuple[Writing, ...] = ()
    """Of a change of several model stores: what is done in each. It goes to no instance, but to the door."""

    @property
    def status(self) -> int:
        """HTTP status when the action is REJECT, else 0."""
        return STATUS.get(self.reason, 0)

    @property
    def reason_text(self) -> str:
        """The reason as headers and logs tell it: of a request that comes around again, why it does."""
        return f"again: {', '.join(self.failed)} failed" if self.failed else str(self.reason)

    @property
    def chosen(self) -> Candidate | None:
        """The instance's own candidate."""
        for candidate in self.candidates:
            if candidate.instance == self.instance:
                return candidate
        return None

    @property
    def victims(self) -> tuple[str, ...]:
        """Models that must go where the request goes."""
        chosen = self.chosen
        return () if chosen is None else chosen.victims
