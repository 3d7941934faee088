"""Requests of the last minutes that were not served, for people: turned away, or left by their clients while they were
held or while their model loaded. How many for each cause, and which model it was last.

Bounded by the number of causes; clients' own mistakes (what cannot be read, keys) are none of them.
"""

from __future__ import annotations

from typing import NamedTuple

from spoe_agent.agent.ending import Ending, Left
from spoe_agent.agent.grant import Grant
from spoe_agent.routing import Reason
from spoe_agent.routing.choice import LOADED

LATELY_S = 300.0
"""A cause of which nothing has come for so long is forgotten."""

TURNED_AWAY = frozenset(
    {
        Reason.CANNOT_FIT,
        Reason.HOLD_TIMEOUT,
        Reason.NO_INSTANCE_UP,
        Reason.NO_LISTS,
        Reason.NOT_FOUND,
        Reason.TOO_LARGE,
        Reason.CROWDED,
    }
)
LEFT_QUEUE, LEFT_LOAD = "left the queue", "left its load"


class Lately(NamedTuple):
    """Of one cause."""

    requests: int
    """Without a pause of LATELY_S between two of them."""
    model: str
    """The last one's; "" when it named none."""
    at_s: float
    """When that was, monotonic seconds."""

    def is_over(self, now_s: float) -> bool:
        """Tell whether nothing has come for so long that it is forgotten."""
        return now_s - self.at_s >= LATELY_S


def one_more(before: Lately | None, model: str, now_s: float) -> Lately:
    """Return what there is with one more."""
    return Lately(1 if before is None or before.is_over(now_s) else before.requests + 1, model, now_s)


class Unserved:
    """Of one agent."""

    def __init__(self) -> None:
        self._causes: dict[str, Lately] = {}

    def refused(self, reason: Reason, model: str | None, now_s: float) -> None:
        """Take one that was turned away."""
        if reason in TURNED_AWAY:
            self._add(reason, model or "", now_s)

    def left_queue(self, model: str, now_s: float) -> None:
        """Take one whose client left while it was held."""
        self._add(LEFT_QUEUE, model, now_s)

    def left(self, grant: Grant, ending: Ending, held_s: float, now_s: float) -> None:
        """Take the end of one that was granted, if its client left before the first token: where it waited longest.
        That a client left while it was held, HAProxy from 3.0 on sees only when the slot is granted.
        """
        if ending.left is None or ending.left is Left.ANSWERED:
            return
        if ending.left is Left.BEFORE or held_s > now_s - grant.at_s:
            self.left_queue(grant.model, now_s)
        elif grant.tier not in (None, LOADED):
            self._add(LEFT_LOAD, grant.model, now_s)

    def _add(self, cause: str, model: str, now_s: float) -> None:
        self._causes[cause] = one_more(self._causes.get(cause), model, now_s)

    def lately(self, now_s: float) -> dict[str, Lately]:
        """Return what came lately, by cause: the reason of the refusal, or one of the two of clients that leave."""
        return {cause: one for cause, one in self._causes.items() if not one.is_over(now_s)}
