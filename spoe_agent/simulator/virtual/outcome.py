"""What one run leaves: every request's record, and what the instances did for them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from spoe_agent.simulator.virtual.requests import RequestOutcome
from spoe_agent.simulator.work import Event, LoadAborted, LoadFinished, LoadStarted, UnloadReason, UnloadStarted

UNDONE_S = 60.0
"""A model that is loaded again on the instance that evicted it less than this before was evicted in vain."""

FAILURES_UNTIL_KNOWN = 2
"""After so many failed requests everybody could know that the instance is struck."""


@dataclass(slots=True)
class SimulationOutcome:
    """All that one run left."""

    records: list[RequestOutcome] = field(default_factory=list)
    """In order of arrival."""
    loads: list[tuple[float, float]] = field(default_factory=list)
    """When each load that took time ended, and its seconds."""
    unloads: int = 0
    undone: int = 0
    """Loads of a model less than `UNDONE_S` after the same instance evicted it."""
    finished_at_s: float = 0.0
    sent_to_struck: int = 0
    """Requests sent to an instance that hung or was gone."""
    sent_to_known: int = 0
    """Those of them that were sent after `FAILURES_UNTIL_KNOWN` had failed there."""


class OutcomeRecorder:
    """Keeps the outcome, and which models are where.

    Args:
        resident: each server's loaded and loading models, kept up to date.
    """

    def __init__(self, resident: Sequence[set[str]]) -> None:
        self.outcome = SimulationOutcome()
        self._resident = resident
        self._evicted_at_s: dict[tuple[int, str], float] = {}
        self._failures: dict[int, int] = {}

    def take(self, server: int, event: Event) -> None:
        """Note what an instance did with its models."""
        if isinstance(event, LoadStarted):
            self._resident[server].add(event.model.name)
            evicted_at_s = self._evicted_at_s.get((server, event.model.name), -math.inf)
            self.outcome.undone += event.at_s - evicted_at_s < UNDONE_S
        elif isinstance(event, LoadFinished) and event.load_s > 0:
            self.outcome.loads.append((event.at_s, event.load_s))
        elif isinstance(event, (UnloadStarted, LoadAborted)):
            self._resident[server].discard(event.model.name)
            self.outcome.unloads += 1
            if isinstance(event, UnloadStarted) and event.reason in (UnloadReason.EVICTED, UnloadReason.ASKED):
                self._evicted_at_s[server, event.model.name] = event.at_s

    def struck(self, server: int) -> None:
        """An instance hangs or is gone from now on."""
        self._failures[server] = 0

    def healed(self, server: int) -> None:
        """A new, empty process is there."""
        self._failures.pop(server, None)

    def sent(self, server: int) -> None:
        """A request was let through to a server."""
        if server in self._failures:
            self.outcome.sent_to_struck += 1
            self.outcome.sent_to_known += self._failures[server] >= FAILURES_UNTIL_KNOWN

    def failed(self, server: int) -> None:
        """A request failed on a server."""
        if server in self._failures:
            self._failures[server] += 1
