"""Instances that are emptied for a model which no slot would ever come to, because another one there is always busy.

That one cannot simply be sent away: while Ollama waits for it to become idle, it still takes new requests for it
(ollama#17408). So it gets no more from here until the other has loaded. Lives here: for whom, where, and when that is
given up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from spoe_agent.agent.chooser import Chooser
from spoe_agent.routing import Action, Choice
from spoe_agent.routing.choice import EVICT, RELOAD
from spoe_agent.routing.hold import Ticket

PATIENCE_S = 8.0
"""How long a request waits for a busy model to become idle by itself. In `python -m bench.policies` anything from one
second up gives the same times: there are pauses enough. This is for models that never pause."""


_BLOCKED = (EVICT, RELOAD)
"""Tiers of places where something must become idle first."""


@dataclass(frozen=True, slots=True)
class _Reservation:
    instance: str
    since_s: float


class Reservations:
    """At most one instance for each lane, and one lane for each instance. Times are monotonic seconds."""

    def __init__(self, chooser: Chooser) -> None:
        self._chooser = chooser
        self._board = chooser.board
        self._of: dict[str, _Reservation] = {}
        self._outlasted: dict[str, frozenset[str]] = {}
        """Requests that were waited for in vain, by instance."""

    def instance(self, lane: str) -> str:
        """Return the instance that is being emptied for a lane; "" when none is."""
        return self._of[lane].instance if lane in self._of else ""

    def end(self, lane: str) -> None:
        """Let others load there again, if there is one for the lane."""
        if lane in self._of:
            self._board.unreserve(self._of.pop(lane).instance)

    def end_unless(self, is_wanted: Callable[[str], int]) -> None:
        """End those of lanes in which nobody waits any more."""
        for lane in [lane for lane in self._of if not is_wanted(lane)]:
            self._give_up(lane)

    def review(self, firsts: Iterable[Ticket], look: Callable[[Ticket], Choice], now_s: float) -> None:
        """Give up what takes too long or lost its instance; begin for those who have waited long.

        Args:
            firsts: the oldest of each lane.
            look: tells what a held request would get now.
        """
        hold_s = self._chooser.fleet.policy.hold_s
        for lane in [lane for lane, held in self._of.items() if now_s - held.since_s > hold_s / 2]:
            self._give_up(lane)
        for ticket in firsts:
            lane = ticket.lane
            if lane in self._of and _is_excluded(look(ticket), self._of[lane].instance):
                self.end(lane)
            if lane not in self._of and now_s - ticket.since_s >= min(PATIENCE_S, hold_s / 2):
                self._begin(ticket, look(ticket), now_s)

    def _give_up(self, lane: str) -> None:
        """End it in vain. Some streams last for an hour: until they end, there is no use in trying again."""
        instance = self._of[lane].instance
        leaving = self._board.activity(instance).leaving
        grants = self._board.granted(instance)
        self._outlasted[instance] = frozenset([grant.request_id for grant in grants if grant.model in leaving])
        self.end(lane)

    def _begin(self, ticket: Ticket, choice: Choice, now_s: float) -> None:
        """Empty the best place where busy models are all that is in the way, and none of them is more urgent: half of
        the hold time makes the ticket more urgent than all (HoldQueue.promote).
        """
        model = ticket.facts.runner
        if choice.action is not Action.HOLD or model is None or choice.tier not in _BLOCKED or self._is_at_limit(model):
            return
        blocked = [one for one in choice.candidates if one.exclusion is None and one.tier in _BLOCKED]
        for place in sorted(blocked, key=lambda one: one.cost.total_s):
            in_way = place.victims if place.tier is EVICT else (*place.victims, model)
            if self._can_be_emptied(place.instance, in_way) and self._gives_way(in_way, ticket):
                self._board.reserve(place.instance, model, in_way)
                self._of[ticket.lane] = _Reservation(place.instance, now_s)
                return

    def _can_be_emptied(self, instance: str, in_way: tuple[str, ...]) -> bool:
        """Tell whether it is worth trying: one of them is busy, but with nothing that outlasted the last time."""
        there = self._board.activity(instance)
        if there.reserved or there.loading or not any(model in there.in_flight for model in in_way):
            return False
        outlasted = self._outlasted.get(instance, frozenset())
        return outlasted.isdisjoint([grant.request_id for grant in self._board.granted(instance)])

    def _gives_way(self, in_way: tuple[str, ...], ticket: Ticket) -> bool:
        rules = [self._chooser.fleet.rule(model) for model in in_way if model != ticket.facts.runner]
        return all(ticket.priority <= rule.priority for rule in rules)

    def _is_at_limit(self, model: str) -> bool:
        fleet = self._chooser.fleet
        return fleet.rule(model).is_at_limit(model, (self._board.activity(spec.name) for spec in fleet.instances))


def _is_excluded(choice: Choice, instance: str) -> bool:
    """Tell whether an instance may not serve the request, or is not in the fleet any more."""
    return not any(one.instance == instance and one.exclusion is None for one in choice.candidates)
