"""Requests that are held until a slot is free: who is held, when the queue is asked, what is done for who waits long.

Lives here: the queue in use, bursts, the time limit, and loads that a queue is worth.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from spoe_agent.agent.chooser import Chooser
from spoe_agent.agent.reservations import Reservations
from spoe_agent.routing import Action, Choice, FleetSpec, InstanceLoad, Kind, Reason, RequestFacts
from spoe_agent.routing.choice import PASSING
from spoe_agent.routing.hold import HoldQueue, Ticket, lane

MAX_LANES = 1_000
"""Lanes whose last request is remembered. Callers choose `num_ctx`, and with it lanes."""

REASK_AT = 1.1
"""A queue that has grown so much is looked at anew."""

BELIEVED_DOWN_S = 3.0
"""What HAProxy said of servers that are down, or did not take a request, is believed so long; nothing newer comes while
nobody asks."""

Granted = tuple[Ticket, Choice]
"""A held request, and its Choice at last."""


@dataclass(frozen=True, slots=True)
class _Down:
    """Where one HAProxy process found nobody."""

    loads: Mapping[str, InstanceLoad]
    at_s: float


@dataclass(frozen=True, slots=True)
class _Last:
    """How the last request of a lane came to be held."""

    version: int
    fleet: FleetSpec
    waiting: int
    choice: Choice
    ticket: Ticket


class WaitingRoom:
    """Holds requests and gives them the slots that come free. Times are monotonic seconds.

    What its methods return left the room: each is to be told its Choice.
    """

    def __init__(self, chooser: Chooser) -> None:
        self._chooser = chooser
        self._board = chooser.board
        self.queue = HoldQueue(chooser.fleet.policy.caller_weights)
        self._down: dict[str, _Down] = {}
        self._last: dict[str, _Last] = {}
        self._reservations = Reservations(chooser)

    def note_down(self, facts: RequestFacts, now_s: float) -> None:
        """Take from a newcomer's counts where its HAProxy process finds nobody."""
        down = {name: load for name, load in facts.loads.items() if not load.is_up}
        if down:
            self._down[facts.process] = _Down(down, now_s)
        else:
            self._down.pop(facts.process, None)

    def keep(self, facts: RequestFacts, choice: Choice, now_s: float) -> None:
        """Hold a request, of which `choice` said so."""
        needs_s = self._chooser.needs_s(facts, choice.instance or "", now_s)
        ticket = Ticket(facts, now_s, needs_s, self._chooser.fleet.hold_s(facts.model or ""), self.priority(facts))
        self.queue.add(ticket)
        if len(self._last) > MAX_LANES:
            self._last.clear()
        as_of = self._board.version, self._chooser.fleet
        self._last[ticket.lane] = _Last(*as_of, self.queue.waiting(ticket.lane), choice, ticket)

    def join(self, facts: RequestFacts, now_s: float) -> Choice | None:
        """Hold a request like the one before it, as long as nothing happened since and the queue is not much longer.

        So a burst of thousands is answered within HAProxy's `timeout processing`; every tenth part of the queue asks
        anew, because at some length loading elsewhere is worth its price.
        """
        last = self._last.get(lane(facts))
        if last is None or facts.kind is not Kind.INFERENCE or not facts.rights.may_use(facts.model or ""):
            return None
        if last.version != self._board.version or last.fleet is not self._chooser.fleet:
            return None
        waiting = self.queue.waiting(lane(facts))
        if not waiting or waiting > REASK_AT * last.waiting:
            return None
        self.queue.add(replace(last.ticket, facts=facts, since_s=now_s, priority=self.priority(facts)))
        return last.choice

    def priority(self, facts: RequestFacts) -> int:
        """Return a request's class: the least urgent of its model's, its key's, and one that it wishes."""
        own = max(self._chooser.fleet.rule(facts.model or "").priority, facts.rights.priority)
        return own if facts.wishes.priority is None else max(own, facts.wishes.priority)

    def leave(self, request_id: str) -> Ticket | None:
        """Take out a request that ended by itself. None: it was not here."""
        ticket = self.queue.remove(request_id)
        self._reservations.end_unless(self.queue.waiting)
        return ticket

    def release(self, now_s: float) -> list[Granted]:
        """Give free slots to held requests, in the queue's order."""
        granted = self.queue.take(lambda ticket: self._choose(ticket, now_s))
        self._reservations.end_unless(self.queue.waiting)
        return granted

    def close(self, now_s: float) -> list[Granted]:
        """Hold nobody any more: who is here gets the best place as things are, slot or not, or is turned away."""
        self._chooser.hold_none()
        return self.release(now_s)

    def expire(self, now_s: float) -> list[Granted]:
        """Turn away who has waited too long; put forward who has waited half of that."""
        late = self.queue.expire(now_s)
        self.queue.promote(now_s)
        self._reservations.end_unless(self.queue.waiting)
        return [(ticket, _too_late(ticket, self._chooser.fleet.policy.retry_after_s)) for ticket in late]

    def load_more(self, now_s: float) -> list[Granted]:
        """Send the last of each lane away to load its model elsewhere, where that takes less than its turn to come.

        Newcomers find that out by themselves. This is for when nobody comes any more, or times turned out longer.
        """
        last = {ticket.lane: ticket for ticket in self.queue}
        granted = []
        for name, ticket in last.items():
            ahead = self.queue.waiting(name) - 1
            choice = self._look(ticket, now_s, ahead) if ahead else None
            if choice is not None and choice.action is Action.ROUTE:
                self._chooser.enter(ticket.facts, choice, now_s)
                self.queue.serve(ticket)
                granted.append((ticket, choice))
        return granted

    def reserve(self, now_s: float) -> None:
        """See to those who have waited long for a place that another model keeps busy."""
        firsts = {ticket.lane: ticket for ticket in reversed(list(self.queue))}
        self._reservations.review(firsts.values(), lambda ticket: self._look(ticket, now_s), now_s)

    def _look(self, ticket: Ticket, now_s: float, waiting: int = 0) -> Choice:
        """The board's own account stands for HAProxy's counts, which are as old as the request."""
        reserved = self._reservations.instance(ticket.lane)
        loads = self._down_for(ticket.facts.process, now_s)
        tried = ticket.facts.tried if now_s - ticket.since_s < BELIEVED_DOWN_S else ()
        return self._chooser.look(replace(ticket.facts, loads=loads, tried=tried), now_s, waiting, reserved)

    def _down_for(self, process: str, now_s: float) -> Mapping[str, InstanceLoad]:
        down = self._down.get(process)
        if down is not None and now_s - down.at_s >= BELIEVED_DOWN_S:
            del self._down[process]
            return {}
        return {} if down is None else down.loads

    def _choose(self, ticket: Ticket, now_s: float) -> Choice | None:
        """Return what a held request gets now, and enter it; None: nothing yet.

        Where nobody is up it goes on waiting: an instance may be back before its time is over.
        """
        choice = self._look(ticket, now_s)
        if choice.action is Action.HOLD or (choice.reason in PASSING and self._chooser.holds):
            return None
        self._reservations.end(ticket.lane)
        self._chooser.enter(ticket.facts, choice, now_s)
        return choice


def _too_late(ticket: Ticket, retry_after_s: int) -> Choice:
    why = " (header x-pointsman-timeout)" if ticket.patience_s < ticket.hold_s else ""
    return Choice(
        Action.REJECT,
        Reason.HOLD_TIMEOUT,
        message=f"no slot was free within {ticket.patience_s:g} s; try again later{why}",
        retry_after_s=retry_after_s,
    )
