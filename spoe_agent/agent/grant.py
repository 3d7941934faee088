"""What was granted: one request that was sent to an instance, and an instance's grants as one agent leaves them to the
next.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from spoe_agent.routing.choice import Cost, Tier

OWN_PROCESS = "own"
"""The process of the agent's own requests: no front end counts them, so no counts prove them gone."""


class Loading(NamedTuple):
    """What the load that a grant begins reads, and what was expected of it."""

    store: str
    file_bytes: int
    is_cached: bool
    """The file is in the page cache."""
    begins_s: float | None = None
    """After so long; None: that is uncertain, as others load or go before it, so its time tells nothing."""


@dataclass(frozen=True, slots=True)
class Grant:
    """One request that was sent to an instance."""

    request_id: str
    instance: str
    model: str
    at_s: float
    tier: Tier | None = None
    """How warm the instance was for it."""
    context: int | None = None
    """`num_ctx`, where it asked for one."""
    process: str = ""
    """The HAProxy process that asked: its counts, and no other's, show the request."""
    only_loads: bool = False
    """It has no prompt."""
    options: str = ""
    """What else it has its model loaded with."""
    loading: Loading | None = None
    """None: it begins no load."""
    cost: Cost | None = None
    """What was predicted for it."""
    caller: str = ""
    is_repeated: bool = False
    """HAProxy keeps it until the instance answers: what is answered 500 or 503, or not at all, goes elsewhere."""

    @property
    def is_own(self) -> bool:
        """Whether the agent itself asked, and no client."""
        return self.process == OWN_PROCESS


@dataclass(frozen=True, slots=True)
class Ledger:
    """An account as one agent leaves it to the next. Times are seconds of the machine's clock since it was started."""

    grants: tuple[Grant, ...] = ()
    """Oldest first."""
    loading: Mapping[str, float] = field(default_factory=dict)
    contexts: Mapping[str, int] = field(default_factory=dict)
    replaced: Mapping[str, int] = field(default_factory=dict)
    answered: Mapping[str, float] = field(default_factory=dict)
    leaving: frozenset[str] = frozenset()
    own_contexts: Mapping[str, int] = field(default_factory=dict)
    """With what models were loaded unasked (`contexts.Contexts`), and what was listed last."""
    shown_contexts: Mapping[str, int] = field(default_factory=dict)
    options: Mapping[str, str] = field(default_factory=dict)
