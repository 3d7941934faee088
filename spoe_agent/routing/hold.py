"""The queue of requests that cannot run yet: who is next when a slot is free.

Priority class first (lower is more urgent), then fair share between callers, then age. Fairness is start-time fair
queueing (Goyal, Vin, Cheng 1996): a caller's clock advances by the predicted service time of what it was granted,
divided by its weight, and the caller furthest behind is next. A caller that was idle starts at the present, so nobody
saves up. Whoever has waited long is served before everybody, so no class starves another.

Pure: no clock, no I/O.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

from spoe_agent.routing.facts import RequestFacts

_T = TypeVar("_T")

LEAST_URGENT = 100
"""The class of what can wait."""

OVERDUE = -1_000_000
"""The class of tickets that have waited too long for their own."""

MAX_IDLE = 10_000
"""Callers without tickets whose clocks are kept."""


def lane(facts: RequestFacts) -> str:
    """Return the lane of a request: one lane is served by the same slots, so if its first cannot run, none can.

    HAProxy's old process does not know instances that its new one has: who asked from there waits in a lane apart.
    """
    name = facts.model or "" if facts.num_ctx is None else f"{facts.model} {facts.num_ctx}"
    name = f"{name} {facts.runner_options}" if facts.runner_options else name
    name = f"{name} @{facts.wishes.instance}" if facts.wishes.instance else name
    return f"{name} of {len(facts.servers)}" if facts.servers else name


@dataclass(frozen=True, slots=True)
class Ticket:
    """One held request."""

    facts: RequestFacts
    since_s: float
    """When it was held, monotonic seconds."""
    service_s: float
    """Predicted time in a slot: what it adds to its caller's account when it is granted."""
    hold_s: float
    """How long requests of its model are held; it may wish for less."""
    priority: int = 0

    @property
    def lane(self) -> str:
        """The lane of its request."""
        return lane(self.facts)

    @property
    def patience_s(self) -> float:
        """How long it is held at most."""
        wished_s = self.facts.wishes.wait_s
        return self.hold_s if wished_s is None else min(wished_s, self.hold_s)


_Lanes = dict[str, dict[str, dict[str, Ticket]]]
"""Tickets of one priority class: per lane, per caller, oldest first."""


class HoldQueue:
    """Tickets in the order described above. `weights` by caller; others have their key's."""

    def __init__(self, weights: Mapping[str, float] | None = None) -> None:
        self.weigh(weights or {})
        self._classes: dict[int, _Lanes] = {}
        self._tickets: dict[str, Ticket] = {}
        self._in_lane: Counter[str] = Counter()
        self._of_caller: Counter[str] = Counter()
        self._clocks: dict[str, float] = {}
        self._now = 0.0
        """Virtual time: the clock of the caller that was granted last."""

    def weigh(self, weights: Mapping[str, float]) -> None:
        """Take other weights; what callers were granted stays counted."""
        self._weights = dict(weights)

    def __len__(self) -> int:
        return len(self._tickets)

    def __bool__(self) -> bool:
        return bool(self._tickets)

    def __contains__(self, request_id: str) -> bool:
        return request_id in self._tickets

    def __iter__(self) -> Iterator[Ticket]:
        """All tickets, oldest first."""
        return iter(self._tickets.values())

    def of(self, caller: str) -> int:
        """Return how many tickets a caller has."""
        return self._of_caller[caller]

    def waiting(self, lane: str) -> int:
        """Return how many tickets wait in a lane."""
        return self._in_lane[lane]

    def add(self, ticket: Ticket) -> None:
        """Queue a ticket. One of the same request loses its place."""
        self.remove(ticket.facts.request_id)
        caller = ticket.facts.caller
        if not self._of_caller[caller]:
            self._clocks[caller] = max(self._clocks.get(caller, 0.0), self._now)
        self._tickets[ticket.facts.request_id] = ticket
        self._in_lane[ticket.lane] += 1
        self._of_caller[caller] += 1
        self._enter(ticket)

    def remove(self, request_id: str) -> Ticket | None:
        """Take a ticket out: its client left, or it is granted. Return it, or None when it is not queued."""
        ticket = self._tickets.pop(request_id, None)
        if ticket is None:
            return None
        for counts, name in ((self._in_lane, ticket.lane), (self._of_caller, ticket.facts.caller)):
            counts[name] -= 1
            if not counts[name]:
                del counts[name]
        self._leave(ticket)
        return ticket

    def _enter(self, ticket: Ticket) -> None:
        """Put a ticket at the end of its class, lane and caller."""
        callers = self._classes.setdefault(ticket.priority, {}).setdefault(ticket.lane, {})
        callers.setdefault(ticket.facts.caller, {})[ticket.facts.request_id] = ticket

    def _leave(self, ticket: Ticket) -> None:
        """Undo `_enter`; what is empty goes."""
        lanes = self._classes[ticket.priority]
        callers = lanes[ticket.lane]
        tickets = callers[ticket.facts.caller]
        del tickets[ticket.facts.request_id]
        if not tickets:
            del callers[ticket.facts.caller]
        if not callers:
            del lanes[ticket.lane]
        if not lanes:
            del self._classes[ticket.priority]

    def expire(self, now_s: float) -> list[Ticket]:
        """Take out and return the tickets whose time to wait is over, oldest first."""
        late = [one for one in self if one.patience_s <= now_s - one.since_s]
        for ticket in late:
            self.remove(ticket.facts.request_id)
        return late

    def promote(self, now_s: float) -> None:
        """Put tickets that have waited for half of their model's time ahead of every class; among them the order is the
        same.
        """
        for ticket in list(self):
            if ticket.priority != OVERDUE and now_s - ticket.since_s > ticket.hold_s / 2:
                self._leave(ticket)
                overdue = replace(ticket, priority=OVERDUE)
                self._tickets[ticket.facts.request_id] = overdue
                self._enter(overdue)

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
                self.serve(ticket)
                granted.append((ticket, got))
        self._forget_idle()
        return granted

    def serve(self, ticket: Ticket) -> None:
        """Take a ticket out that got its slot; its caller pays for it."""
        caller = ticket.facts.caller
        self._now = max(self._now, self._clocks[caller])
        self._clocks[caller] += ticket.service_s / self._weights.get(caller, ticket.facts.rights.weight)
        self.remove(ticket.facts.request_id)

    def _next(self, priority: int, blocked: set[str]) -> Ticket | None:
        """Return the oldest ticket that is not blocked, of the caller furthest behind."""
        heads = [
            next(iter(tickets.values()))
            for lane, callers in self._classes.get(priority, {}).items()
            if lane not in blocked
            for tickets in callers.values()
        ]
        return min(heads, key=self._rank, default=None)

    def _rank(self, ticket: Ticket) -> tuple[float, float, str]:
        caller = ticket.facts.caller
        return self._clocks[caller], ticket.since_s, caller

    def _forget_idle(self) -> None:
        """Callers with nothing queued lose only what they were ahead, and that when they are very many."""
        if len(self._clocks) > MAX_IDLE + len(self._of_caller):
            self._clocks = {name: clock for name, clock in self._clocks.items() if name in self._of_caller}
