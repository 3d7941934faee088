"""What has happened in one instance: the events not yet handed out, and the counters since its start.

Only records; nothing here decides anything.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from spoe_agent.simulator.work import Event, UnloadReason


@dataclass(slots=True)
class Counters:
    """Totals since the start of the instance."""

    loads: Counter[str] = field(default_factory=Counter)
    """Completed loads by model name."""
    load_s: float = 0.0
    aborted_loads: int = 0
    unloads: Counter[UnloadReason] = field(default_factory=Counter)
    served: Counter[str] = field(default_factory=Counter)
    """Requests served to their end, by model name."""
    rejected: int = 0
    cancelled: int = 0
    max_in_flight: int = 0

    def loaded(self, name: str, load_s: float) -> None:
        """Count a completed load."""
        self.loads[name] += 1
        self.load_s += load_s

    def unloaded(self, reason: UnloadReason) -> None:
        """Count a runner that was stopped."""
        self.unloads[reason] += 1


class Journal:
    """The record that all parts of the scheduler write to."""

    def __init__(self) -> None:
        self.counters = Counters()
        self._events: list[Event] = []

    def add(self, event: Event) -> None:
        """Record an event."""
        self._events.append(event)

    def take(self) -> list[Event]:
        """Hand out the events since the last call."""
        taken, self._events = self._events, []
        return taken
