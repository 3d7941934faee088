"""How sure a comparison is: its windows, and their blocks of 60 s, drawn anew again and again."""

from __future__ import annotations

import math
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from statistics import pstdev
from typing import NamedTuple

from bench.policies.summary import mean

BLOCK_S = 60.0
RESAMPLES = 400
CERTAINTY = 0.95


class Blocks:
    """The values of one policy in one window, by block, ready to be resampled.

    Args:
        values: when, and what.
    """

    def __init__(self, values: Iterable[tuple[float, float]]) -> None:
        self.sums: defaultdict[int, float] = defaultdict(float)
        self.counts: Counter[int] = Counter()
        self._largest: list[tuple[float, int]] = []
        for at_s, value in values:
            self.add(at_s, value)
            self.counts[int(at_s // BLOCK_S)] += 1
            self._largest.append((value, int(at_s // BLOCK_S)))
        self._largest.sort(reverse=True)

    def add(self, at_s: float, amount: float) -> None:
        """Add to the sum of a block what is no further value."""
        self.sums[int(at_s // BLOCK_S)] += amount

    def mean(self, times: Counter[int]) -> float:
        """Return the mean when each block is there so many times."""
        total = sum(self.sums[block] * n for block, n in times.items())
        return total / max(1, sum(self.counts[block] * n for block, n in times.items()))

    def percentile(self, times: Counter[int], part: float) -> float:
        """Return the value that `part` of all lies below, when each block is there so many times."""
        above = (1 - part) * sum(self.counts[block] * n for block, n in times.items())
        for value, block in self._largest:
            above -= times[block]
            if above < 0:
                return value
        return 0.0


Window = tuple[Blocks, ...]
"""The policies that are compared, over the same requests."""


class Spread(NamedTuple):
    """A mean over windows and its 95 % limits (two-sided)."""

    value: float
    lower: float
    upper: float
    deviation: float
    """Standard deviation of the mean."""
    each: tuple[float, ...]
    """Per window."""


def bootstrap(windows: Sequence[Window], of: Callable[[Window, Counter[int]], float]) -> Spread:
    """Return the mean of a figure over the windows, and its limits.

    Windows are drawn anew, and blocks: the same ones in all windows, because seeds that replay one trace share its
    bursts, so they are not independent.

    Args:
        windows: what the figure is of.
        of: returns the figure of one window when each block is there so many times.
    """
    blocks = sorted(set().union(*(side.sums for window in windows for side in window)))
    randomness = random.Random(0)
    once = Counter(blocks)
    resamples = [Counter(randomness.choices(blocks, k=len(blocks))) for _ in range(RESAMPLES)]
    chosen = [randomness.choices(windows, k=len(windows)) for _ in range(RESAMPLES)]
    each = tuple(of(window, once) for window in windows)
    drawn = sorted(mean([of(window, times) for window in some]) for times, some in zip(resamples, chosen, strict=True))
    beyond = int((1 + CERTAINTY) / 2 * (RESAMPLES - 1))
    deviation = pstdev(drawn) if math.isfinite(drawn[-1]) and math.isfinite(drawn[0]) else math.inf
    return Spread(mean(each), drawn[RESAMPLES - 1 - beyond], drawn[beyond], deviation, each)
