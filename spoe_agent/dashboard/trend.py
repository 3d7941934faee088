"""The last hour in pieces of ten seconds: first tokens, loads, ends, who waited. Bounded, and read off the counts that
are kept anyway: no request pays for it.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from spoe_agent.agent.agent import Agent
from spoe_agent.agent.counts import SECONDS, Counts, Histogram, Outcome
from spoe_agent.haproxy.contact import Contact

PIECE_S = 10.0
PIECES = 360


class Sums(NamedTuple):
    """Counts since the agent's start, as of the end of a piece; `held` is how many waited then."""

    first_token: tuple[int, ...]
    """By `SECONDS`, cold starts and warm ones together."""
    loads: int
    load_s: float
    loads_measured: int
    whole: int
    broken: int
    fell_back: int
    held: int


class Trend:
    """Of one agent. `run` adds a piece every ten seconds until cancelled."""

    def __init__(self, agent: Agent, contact: Contact, clock: Callable[[], float] = time.monotonic) -> None:
        self._agent = agent
        self._contact = contact
        self._clock = clock
        self._sums: deque[Sums] = deque([self._now()], PIECES + 1)
        self.number = 0
        """Pieces so far."""

    async def run(self) -> None:
        """Take pieces until cancelled."""
        due_s = self._clock()
        while True:
            due_s += PIECE_S
            await asyncio.sleep(due_s - self._clock())
            self.take()

    def take(self) -> None:
        """End a piece."""
        self._sums.append(self._now())
        self.number += 1

    def _now(self) -> Sums:
        counts = self._agent.record.counts
        loads = list(counts.load_s.values())
        return Sums(
            _added(counts.first_token_s.values()),
            sum(counts.loads.values()),
            sum(one.total for one in loads),
            sum(sum(one.counts) for one in loads),
            _ended(counts, Outcome.WHOLE),
            _ended(counts, Outcome.BROKEN),
            self._contact.fell_back,
            len(self._agent.hold),
        )

    def columns(self) -> dict[str, Any]:
        """Return a column for each value, the oldest piece first; None where a piece has none."""
        pieces = list(pairwise(self._sums))
        first = [_less(after.first_token, before.first_token) for before, after in pieces]
        return {
            "number": self.number,
            "piece_s": PIECE_S,
            "pieces": PIECES,
            "first_token_p50_s": [quantile(counts, 0.5) for counts in first],
            "first_token_p95_s": [quantile(counts, 0.95) for counts in first],
            "loads": [after.loads - before.loads for before, after in pieces],
            "load_s": [_mean_load_s(before, after) for before, after in pieces],
            "whole": [after.whole - before.whole for before, after in pieces],
            "broken": [after.broken - before.broken for before, after in pieces],
            "fell_back": [after.fell_back - before.fell_back for before, after in pieces],
            "held": [after.held for _, after in pieces],
        }


def quantile(counts: Sequence[int], part: float) -> float | None:
    """Return the seconds that a part of the values does not exceed, between two bounds in proportion."""
    left = part * sum(counts)
    if not left:
        return None
    bounds = (0.0, *SECONDS)
    for number, count in enumerate(counts[:-1]):
        if left <= count:
            return round(bounds[number] + (bounds[number + 1] - bounds[number]) * left / count, 3)
        left -= count
    return SECONDS[-1]


def _added(histograms: Iterable[Histogram]) -> tuple[int, ...]:
    nothing = [0] * (len(SECONDS) + 1)
    return tuple(map(sum, zip(nothing, *(one.counts for one in histograms), strict=True)))


def _less(after: Sequence[int], before: Sequence[int]) -> list[int]:
    return [one - other for one, other in zip(after, before, strict=True)]


def _mean_load_s(before: Sums, after: Sums) -> float | None:
    count = after.loads_measured - before.loads_measured
    return round((after.load_s - before.load_s) / count, 2) if count else None


def _ended(counts: Counts, outcome: Outcome) -> int:
    return sum(count for (_, how), count in counts.ended.items() if how is outcome)
