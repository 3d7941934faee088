"""One policy against another over the same requests: ratios, how sure they are, and minute by minute."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from bench.policies.bootstrap import BLOCK_S, Blocks, Window, bootstrap
from bench.policies.samples import Sample
from bench.policies.summary import Run, mean

LEAST_PER_MINUTE = 5
"""Minutes with fewer requests say nothing."""


@dataclass(frozen=True, slots=True)
class Ratio:
    """Ours divided by theirs, the mean over the windows (and over placements, where a policy has several)."""

    value: float
    upper: float
    """Upper limit at 95 % (two-sided)."""
    deviation: float = field(default=0.0, compare=False)
    """Standard deviation of the mean: windows, their blocks and salts drawn anew."""
    each: tuple[float, ...] = field(default=(), compare=False)
    """Per window."""


@dataclass(frozen=True, slots=True)
class Gap:
    """(theirs - ours) / (theirs - the ideal's), on the mean time to the first token; the mean over the windows."""

    value: float
    lower: float
    """Lower limit at 95 % (two-sided)."""


@dataclass(frozen=True, slots=True)
class Minutes:
    """Mean time to the first token per minute of arrival, ours divided by theirs."""

    worst: float
    above: int
    """Minutes in which ours was more than 5 % slower, over all windows and placements."""
    counted: int


def ratios(ours: Sequence[Run], theirs: Sequence[Run], field: str, parts: Sequence[float | None]) -> list[Ratio]:
    """Return the ratio of each percentile (None: of the mean) of a field of the samples: the mean over the windows.

    Both must be of the same cell.
    """
    windows = [(_times(mine, field), _times(other, field)) for mine, other in _pairs(ours, theirs)]
    return [_ratio(windows, part) for part in parts]


def loads_ratio(ours: Sequence[Run], theirs: Sequence[Run]) -> Ratio | None:
    """Return the ratio of loads per request; None where one of theirs has none."""
    if not all(run.loads for run in theirs):
        return None
    return _ratio([(_loads(mine), _loads(other)) for mine, other in _pairs(ours, theirs)], None)


def gap_closed(ours: Sequence[Run], theirs: Sequence[Run], ideal: Sequence[Run]) -> Gap | None:
    """Return how much of what can be gained is gained; None where there is nothing to gain."""
    windows = [
        (_times(mine, "ttft"), _times(other, "ttft"), _times(best, "ttft"))
        for mine, other in _pairs(ours, theirs)
        for best in ideal
        if best.window == mine.window
    ]
    found = bootstrap(windows, _closed)
    return None if min(found.each) == -math.inf else Gap(found.value, found.lower)


def minutes(ours: Sequence[Run], theirs: Sequence[Run]) -> Minutes:
    """Compare minute by minute."""
    found = []
    for our_run, their_run in _pairs(ours, theirs):
        mine, other = _by_minute(our_run.measured()), _by_minute(their_run.measured())
        found += [
            _quotient(mean(mine[minute]), mean(other[minute]))
            for minute in mine.keys() & other.keys()
            if min(len(mine[minute]), len(other[minute])) >= LEAST_PER_MINUTE
        ]
    return Minutes(max(found, default=0.0), sum(ratio > 1.05 for ratio in found), len(found))


def finite(value: float) -> float | None:
    """Return what JSON can say: None for infinity, which is a limit where in some resample theirs have nothing."""
    return value if math.isfinite(value) else None


def _pairs(ours: Sequence[Run], theirs: Sequence[Run]) -> list[tuple[Run, Run]]:
    """Bring together the runs of the same requests."""
    return [(mine, other) for mine in ours for other in theirs if mine.window == other.window]


def _times(run: Run, field: str) -> Blocks:
    return Blocks((one.t, getattr(one, field)) for one in run.measured() if one.counts)


def _loads(run: Run) -> Blocks:
    """Every load counts in the minute in which it ended, and every request adds none."""
    blocks = Blocks((one.t, 0.0) for one in run.samples)
    for at_s in run.loads:
        blocks.add(at_s, 1.0)
    return blocks


def _ratio(windows: Sequence[Window], part: float | None) -> Ratio:
    def divide(window: Window, times: Counter[int]) -> float:
        mine, other = (side.mean(times) if part is None else side.percentile(times, part) for side in window)
        return _quotient(mine, other)

    found = bootstrap(windows, divide)
    return Ratio(found.value, found.upper, found.deviation, found.each)


def _closed(window: Window, times: Counter[int]) -> float:
    mine, slow, fast = (side.mean(times) for side in window)
    return (slow - mine) / (slow - fast) if slow > fast else -math.inf


def _by_minute(samples: Sequence[Sample]) -> dict[int, list[float]]:
    found: dict[int, list[float]] = {}
    for sample in samples:
        if sample.counts:
            found.setdefault(int(sample.t // BLOCK_S), []).append(sample.ttft)
    return found


def _quotient(ours: float, theirs: float) -> float:
    if theirs > 0:
        return ours / theirs
    return 1.0 if ours == 0 else math.inf
