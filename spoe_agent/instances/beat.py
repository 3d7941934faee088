"""When to poll again: for Ollamas and for sources of GPUs.

Each time the process wakes up costs more than a question does, so polls at moments of their own take more CPU than the
same polls on a common beat. All of them at once would keep requests waiting: with 64 instances and 32 GPU hosts at
their default intervals, a beat has four, which take less time than one decision.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

BEAT_S = 0.05

LEAST_BEATS = 10
"""Shorter pauses are left as they are: to them a beat is no small part."""

JITTER = 0.1
"""Each pause is up to this part longer or shorter, so that polls of many do not march in step."""


def until_beat_s(delay_s: float, now_s: float) -> float:
    """Return how long to pause to end on the beat nearest to the end of a pause that begins now."""
    if delay_s < LEAST_BEATS * BEAT_S:
        return delay_s
    return round((now_s + delay_s) / BEAT_S) * BEAT_S - now_s


async def sleep(delay_s: float) -> None:
    """Pause for about so long."""
    await asyncio.sleep(until_beat_s(delay_s, time.monotonic()))


@dataclass(frozen=True, slots=True)
class Beat:
    """How often to poll, and by which clock; passed in, so that tests own time."""

    interval_s: float = 1.0
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[None]] = sleep
    jitter: Callable[[], float] = random.random
    """Returns 0 to 1."""

    async def keep(self, poll: Callable[[], Awaitable[None]], *, is_first_done: bool) -> None:
        """Poll until cancelled.

        After a first poll it begins at any moment of the interval: polls of many at once would keep requests waiting.
        """
        if is_first_done:
            await self.sleep(self.interval_s * self.jitter())
        while True:
            await poll()
            await self.sleep(self.interval_s * (1 + JITTER * (2 * self.jitter() - 1)))
