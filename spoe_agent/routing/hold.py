"""The queue of requests that cannot run yet: who is next when a slot is free.

Priority class first (lower is more urgent), then fair share between callers, then age. Fairness is start-time fair
queueing (Goyal, Vin, Cheng 1996): a caller's clock advances by the predicted service time of what it was granted,
divided by its weight, and the caller furthest behind is next. A caller that was idle starts at the present, so nobody
saves up. Whoever has waited long is served before everybody, so no class starves another.

Pure: no clock, no I/O. Must not live here: whether a slot is free (choose), how anybody is told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar

from spoe_agent.routing.facts import RequestFacts

_T = TypeVar("_T")

OVERDUE = -1_000_000
"""The class of tickets that have waited too long for their own."""


def lane(facts: RequestFacts) -> str:
    """Return the lane of a request: one lane is served by the same slots, so if its first cannot run, none can."""
    return facts.model or "" if facts.num_ctx is None else f"{facts.model} {facts.num_ctx}"


@dataclass(frozen=True, slots=True)
class Ticket:
    """One held request."""

    facts: RequestFacts
    since_s: float
    """When it was held, monotonic seconds."""
    service_s: float
    """Predicted time in a slot: what it adds to its caller's account when it is granted."""
    priority: int = 0

    @property
    def lane(self) -> str:
        """The lane of its request."""
        return lane(self.facts)


@dataclass(slots=True)
class _Class:
    """One priority class: per caller, per lane, tickets oldest first."""

    callers: dict[str, dict[str, dict[str, Ticket]]] = field(default_factory=dict)


class HoldQueue:
    """Tickets in the order described above. `weights` by caller; others have 1."""

    def __init__(self, weights: Mapping[str, float] | None = None) -> None:
        self._weights = dict(weights or {})
        self._classes: dict[int, _Class] = {}
        self._tickets: dict[str, Ticket] = {}
        self._lanes: dict[str, int] = {}
        self._clocks: dict[str, float] = {}
        self._now = 0.0
        """Virtual time: the clock of the caller that was granted last."""

    def __len__(self) -> int:
        return len(self._tickets)

    def __bool__(self) -> bool:
        return bool(self._tickets)

    def __contains__(self, request_id: str) -> bool:
        return request_id in self._tickets

    def __iter__(self) -> Iterator[Ticket]:
        """All tickets, oldest first."""
        return iter(self._tickets.values())

    def waiting(self, lane: str) -> int:
        """Return how many tickets wait in a lane."""
        return self._lanes.get(lane, 0)

    def add(self, ticket: Ticket) -> None:
        """Queue a ticket. Its request's id must not be queued already."""
        self._tickets[ticket.facts.request_id] = ticket
        self._lanes[ticket.lane] = self._lanes.get(ticket.lane, 0) + 1
        callers = self._classes.setdefault(ticket.priority, _Class()).callers
        caller = ticket.facts.caller
        if not any(caller in group.callers for group in self._classes.values()):
            self._clocks[caller] = max(self._clocks.get(caller, 0.0), self._now)
        callers.setdefault(caller, {}).setdefault(ticket.lane, {})[ticket.facts.request_id] = ticket

    def remove(self, request_id: str) -> Ticket | None:
        """Take a ticket out: its client left, or it is granted. Return it, or None when it is not queued."""
        ticket = self._tickets.pop(request_id, None)
        if ticket is None:
            return None
        self._lanes[ticket.lane] -= 1
        if not self._lanes[ticket.lane]:
            del self._lanes[ticket.lane]
        group = self._classes[ticket.priority]
        lanes = group.callers[ticket.facts.caller]
        del lanes[ticket.lane][request_id]
        if not lanes[ticket.lane]:
            del lanes[ticket.lane]
        if not lanes:
            del group.callers[ticket.facts.caller]
        if not group.callers:
            del self._classes[ticket.priority]
        return ticket

    def expire(self, before_s: float) -> list[Ticket]:
        """Take out and return the tickets that have waited since before a moment."""
        late = self._older(before_s)
        for ticket in late:
            self.remove(ticket.facts.request_id)
        return late

    def promote(self, before_s: float) -> None:
        """Put tickets that have waited since before a moment ahead of every class, oldest first."""
        for ticket in self._older(before_s):
            if ticket.priority != OVERDUE:
                self.remove(ticket.facts.request_id)
                self.add(replace(ticket, priority=OVERDUE))

    def _older(self, than_s: float) -> list[Ticket]:
        return [ticket for ticket in self._tickets.values() if ticket.since_s < than_s]

    def take(self, grant: Callable[[Ticket], _T | None]) -> list[tuple[Ticket, _T]]:
        """Offer slots in order: `grant` returns what the ticket got, or None when it cannot run now.

        Tickets that got something leave the queue and are returned, in the order in which they were granted.
        """
        granted: list[tuple[Ticket, _T]] = []
        blocked: set[str] = set()
        for priority in sorted(self._classes):
            while (ticket := self._next(priority, blocked)) is not None:
                got = grant(ticket)
                if got is None:
                    blocked.add(ticket.lane)
                    continue
                self._charge(ticket)
                self.remove(ticket.facts.request_id)
                granted.append((ticket, got))
        self._forget_idle()
        return granted

    def _next(self, priority: int, blocked: set[str]) -> Ticket | None:
        """Return the oldest ticket that is not blocked, of the caller furthest behind."""
        group = self._classes.get(priority)
        if group is None:
            return None
        for caller in sorted(group.callers, key=lambda name: (self._clocks[name], name)):
            heads = [next(iter(lane.values())) for name, lane in group.callers[caller].items() if name not in blocked]
            if heads:
                return min(heads, key=lambda ticket: ticket.since_s)
        return None

    def _charge(self, ticket: Ticket) -> None:
        caller = ticket.facts.caller
        self._now = max(self._now, self._clocks[caller])
        self._clocks[caller] += ticket.service_s / self._weights.get(caller, 1.0)

    def _forget_idle(self) -> None:
        """Callers with nothing queued and a clock that is not ahead would start at the present anyhow."""
        if len(self._clocks) > 10_000:
            self._clocks = {
                name: clock
                for name, clock in self._clocks.items()
                if clock > self._now or any(name in group.callers for group in self._classes.values())
            }
