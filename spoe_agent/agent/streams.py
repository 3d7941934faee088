"""How many answers one copy of a model gives at a time, as finished requests show it (OLLAMA_NUM_PARALLEL). Pure.

    more    answers that streamed at the same moment had a slot each
    no more whoever was sent beyond the slots had its first token only when one of the others had ended

So one request more than is believed is let through now and then. Where it waits in vain, that is not tried again for
long: it cost one that would have been held a worse place in the line. Nothing is tried where somebody wrote down more
than one slot: whoever does that knows of the setting.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from math import inf
from typing import NamedTuple

from spoe_agent.agent.ending import STREAMED_S, Ending
from spoe_agent.agent.grant import Grant

OVERLAP_S = 0.2
"""Two streams that overlap by less prove nothing: lines come late by some milliseconds."""

PROOFS = 2
"""Moments that prove it; one may be a line that came late."""

VAIN = 3
"""Requests beyond the slots that waited, one after the other, and prove that there are no more."""

TRIED_AFTER = 10
"""Answers of an instance until one more is tried for the first time."""

PAUSE_S, LONGEST_S = 300.0, 3600.0
"""Until one more is tried again, at first and at most; doubled each time."""

KEPT = 32
"""Answers of a model that are looked at."""


class _Stream(NamedTuple):
    granted_at_s: float
    first_at_s: float
    ended_at_s: float


@dataclass(slots=True)
class Streams:
    """Of one instance. Times are monotonic seconds."""

    believed: int
    """Slots of a copy: as the fleet file says, until more are proven."""
    is_sure: bool = False
    """No more are tried."""
    _ended: dict[str, deque[_Stream]] = field(default_factory=dict)
    _answers: int = 0
    _proofs: int = 0
    _vain: int = 0
    _pause_s: float = PAUSE_S
    _again_at_s: float = -inf

    def tries(self, now_s: float) -> int:
        """Return how many requests a copy gets at a time: one more than is believed, when that is to be tried."""
        may_try = not self.is_sure and self._answers >= TRIED_AFTER and now_s >= self._again_at_s
        return self.believed + may_try

    def ended(self, grant: Grant, ending: Ending, in_flight: Iterable[Grant], now_s: float) -> None:
        """Take a request of a loaded model that ended well, and the grants that have not ended."""
        if ending.total_s - ending.first_byte_s <= STREAMED_S:
            return
        self._answers += 1
        own = _Stream(grant.at_s, now_s - ending.total_s + ending.first_byte_s, now_s)
        others = self._ended.setdefault(grant.model, deque(maxlen=KEPT))
        at_once = 1 + max([_streaming(others, at_s) for at_s in _beginnings(own, others)])
        before = [one for one in others if one.granted_at_s <= own.granted_at_s < one.ended_at_s]
        beside = len(before) + sum(
            one.model == grant.model and one.at_s <= grant.at_s and one.request_id != grant.request_id
            for one in in_flight
        )
        others.append(own)
        if at_once > self.believed:
            self._prove(now_s)
        elif beside >= self.believed and any(one.ended_at_s <= own.first_at_s for one in before):
            self._wait_in_vain(now_s)

    def _prove(self, now_s: float) -> None:
        self._proofs, self._vain = self._proofs + 1, 0
        if self._proofs >= PROOFS:
            self.believed += 1
            self._proofs, self._pause_s, self._again_at_s = 0, PAUSE_S, -inf

    def _wait_in_vain(self, now_s: float) -> None:
        self._vain += 1
        if self._vain >= VAIN and now_s >= self._again_at_s:
            self._vain = self._proofs = 0
            self._again_at_s = now_s + self._pause_s
            self._pause_s = min(LONGEST_S, 2 * self._pause_s)


def _beginnings(own: _Stream, others: Iterable[_Stream]) -> list[float]:
    """Return the moments within a stream at which one began: at one of them most streamed at once."""
    within = [one.first_at_s for one in others if own.first_at_s < one.first_at_s < own.ended_at_s - OVERLAP_S]
    return [own.first_at_s, *within]


def _streaming(streams: Iterable[_Stream], at_s: float) -> int:
    return sum([one.first_at_s <= at_s < one.ended_at_s - OVERLAP_S for one in streams])
