"""Pauses of many pollers that end together, a few at a time.

Each time the process wakes up costs more than a question does, so polls at moments of their own take more CPU than the
same polls on a common beat. All of them at once would keep requests waiting: with 64 instances and 32 GPU hosts at
their default intervals, a beat has four, which take less time than one decision.
"""

from __future__ import annotations

import asyncio
import time

BEAT_S = 0.05

LEAST_BEATS = 10
"""Shorter pauses are left as they are: to them a beat is no small part."""


def until_beat_s(delay_s: float, now_s: float) -> float:
    """Return how long to pause to end on the beat nearest to the end of a pause that begins now."""
    if delay_s < LEAST_BEATS * BEAT_S:
        return delay_s
    return round((now_s + delay_s) / BEAT_S) * BEAT_S - now_s


async def sleep(delay_s: float) -> None:
    """Pause for about so long."""
    await asyncio.sleep(until_beat_s(delay_s, time.monotonic()))
