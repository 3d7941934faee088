"""One policy against another over the same requests: ratios, how sure they are, and minute by minute.

Must not live here: what ratios ought to be (goals).
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from spoe_agent.benchmark.requests import SERVED
from spoe_agent.benchmark.samples import Sample
from spoe_agent.benchmark.summary import Run, mean

BLOCK_S = 60.0
RESAMPLES = 400
CERTAINTY = 0.95
LEAST_PER_MINUTE = 5
"""Minutes with fewer requests say nothing."""


@dataclass(frozen=True, slots=True)
class Ratio:
    """Ours divided by theirs."""

    value: float
    upper: float
    """Upper limit at 95 % (two-sided), by bootstrap over blocks of 60 s that both have in common."""


@dataclass(frozen=True, slots=True)
class Minutes:
    """Mean time to the first token per minute of arrival, ours divided by theirs."""

    worst: float
    above: int
    """Minutes in which ours was more than 5 % slower."""
    counted: int


class _Blocks:
    """The values of one policy, by minute, ready to be resampled.

    A minute is one block in all seeds: seeds that replay one trace share its bursts, so they are not independent.
    """

    def __init__(self, runs: Sequence[Run], field: str) -> None:
        self.sums: defaultdict[int, float] = defaultdict(float)
        self.counts: Counter[int] = Counter()
        self.largest: list[tuple[float, int]] = []
        for run in runs:
            for sample in run.measured():
                if sample.status == SERVED:
                    self._add(getattr(sample, field), int(sample.t // BLOCK_S))
        self.largest.sort(reverse=True)

    def _add(self, value: float, block: int) -> None:
        self.sums[block] += value
        self.counts[block] += 1
        self.largest.append((value, block))

    def mean(self, times: Counter[int]) -> float:
        """Return the mean when each block is there so many times."""
        total = sum(self.sums[block] * n for block, n in times.items())
        return total / max(1, sum(self.counts[block] * n for block, n in times.items()))

    def percentile(self, times: Counter[int], part: float) -> float:
        """Return the value that `part` of all lies below, when each block is there so many times."""
        above = (1 - part) * sum(self.counts[block] * n for block, n in times.items())
        for value, block in self.largest:
            above -= times[block]
            if above < 0:
                return value
        return 0.0


def ratios(ours: Sequence[Run], theirs: Sequence[Run], field: str, parts: Sequence[float | None]) -> list[Ratio]:
    """Return the ratio of each percentile (None: of the mean) of a field of the samples.

    Both must be the same seeds of the same cell, in the same order.
    """
    mine, other = _Blocks(ours, field), _Blocks(theirs, field)
    blocks = sorted(mine.counts.keys() | other.counts.keys())
    randomness = random.Random(0)
    once = Counter(blocks)
    resamples = [Counter(randomness.choices(blocks, k=len(blocks))) for _ in range(RESAMPLES)]
    return [_ratio(mine, other, part, once, resamples) for part in parts]


def _ratio(
    mine: _Blocks,
    other: _Blocks,
    part: float | None,
    once: Counter[int],
    resamples: Sequence[Counter[int]],
) -> Ratio:
    def divide(times: Counter[int]) -> float:
        if part is None:
            return _quotient(mine.mean(times), other.mean(times))
        return _quotient(mine.percentile(times, part), other.percentile(times, part))

    drawn = sorted(divide(times) for times in resamples)
    upper = drawn[int((1 + CERTAINTY) / 2 * (len(drawn) - 1))] if drawn else divide(once)
    return Ratio(divide(once), upper)


def minutes(ours: Sequence[Run], theirs: Sequence[Run]) -> Minutes:
    """Compare minute by minute."""
    found = []
    for our_run, their_run in zip(ours, theirs, strict=True):
        mine, other = _by_minute(our_run.measured()), _by_minute(their_run.measured())
        found += [
            _quotient(mean(mine[minute]), mean(other[minute]))
            for minute in mine.keys() & other.keys()
            if min(len(mine[minute]), len(other[minute])) >= LEAST_PER_MINUTE
        ]
    return Minutes(max(found, default=0.0), sum(ratio > 1.05 for ratio in found), len(found))


def _by_minute(samples: Sequence[Sample]) -> dict[int, list[float]]:
    found: dict[int, list[float]] = {}
    for sample in samples:
        if sample.status == SERVED:
            found.setdefault(int(sample.t // BLOCK_S), []).append(sample.ttft)
    return found


def _quotient(ours: float, theirs: float) -> float:
    if theirs > 0:
        return ours / theirs
    return 1.0 if ours == 0 else float("inf")
