"""One policy against another over the same requests: ratios, how sure they are, and minute by minute.

Must not live here: what ratios ought to be (goals).
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

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
    """Ours divided by theirs, the mean over the windows (seeds)."""

    value: float
    upper: float
    """Upper limit at 95 % (two-sided), by bootstrap over windows and over blocks of 60 s that both have in common."""
    each: tuple[float, ...] = field(default=(), compare=False)
    """Per window."""


@dataclass(frozen=True, slots=True)
class Minutes:
    """Mean time to the first token per minute of arrival, ours divided by theirs."""

    worst: float
    above: int
    """Minutes in which ours was more than 5 % slower."""
    counted: int


class _Blocks:
    """The values of one policy in one window, by minute, ready to be resampled."""

    def __init__(self, run: Run, field: str) -> None:
        self.sums: defaultdict[int, float] = defaultdict(float)
        self.counts: Counter[int] = Counter()
        self.largest: list[tuple[float, int]] = []
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


_Window = tuple[_Blocks, _Blocks]
"""Ours and theirs, over the same requests."""


def ratios(ours: Sequence[Run], theirs: Sequence[Run], field: str, parts: Sequence[float | None]) -> list[Ratio]:
    """Return the ratio of each percentile (None: of the mean) of a field of the samples: the mean over the windows.

    Both must be the same seeds of the same cell, in the same order. Windows are drawn anew, and minutes: the same ones
    in all windows, because seeds that replay one trace share its bursts, so they are not independent.
    """
    windows = [(_Blocks(mine, field), _Blocks(other, field)) for mine, other in zip(ours, theirs, strict=True)]
    blocks = sorted(set().union(*(side.counts for window in windows for side in window)))
    randomness = random.Random(0)
    once = Counter(blocks)
    resamples = [Counter(randomness.choices(blocks, k=len(blocks))) for _ in range(RESAMPLES)]
    drawn = [randomness.choices(range(len(windows)), k=len(windows)) for _ in range(RESAMPLES)]
    return [_ratio(windows, part, once, list(zip(resamples, drawn, strict=True))) for part in parts]


def over_windows(values: Sequence[float]) -> Ratio:
    """Return the mean of what is one number per window, and its limit."""
    randomness = random.Random(0)
    drawn = [mean(randomness.choices(values, k=len(values))) for _ in range(RESAMPLES)]
    return Ratio(mean(values), _upper(drawn), tuple(values))


def _ratio(
    windows: Sequence[_Window],
    part: float | None,
    once: Counter[int],
    resamples: Sequence[tuple[Counter[int], list[int]]],
) -> Ratio:
    each = tuple(_divide(window, once, part) for window in windows)
    drawn = [mean([_divide(windows[number], times, part) for number in numbers]) for times, numbers in resamples]
    return Ratio(mean(each), _upper(drawn), each)


def _divide(window: _Window, times: Counter[int], part: float | None) -> float:
    mine, other = window
    if part is None:
        return _quotient(mine.mean(times), other.mean(times))
    return _quotient(mine.percentile(times, part), other.percentile(times, part))


def _upper(drawn: Sequence[float]) -> float:
    return sorted(drawn)[int((1 + CERTAINTY) / 2 * (len(drawn) - 1))]


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
