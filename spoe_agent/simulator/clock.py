"""The clock seam: virtual seconds of the scheduler against the event loop's real ones.

Everything about a simulated server is ``scale`` times faster than life. What it tells the outside (durations,
expires_at) is real time, so that it agrees with what an observer measures. Nothing here knows requests.
"""

from __future__ import annotations

import math
from asyncio import AbstractEventLoop
from datetime import UTC, datetime, timedelta

# Ollama turns a negative keep_alive into the longest Go duration, 292 years.
_FOREVER = timedelta(days=292 * 365)


class ScaledClock:
    """Virtual time that starts at 0 now and runs ``scale`` times as fast as ``loop``'s."""

    def __init__(self, loop: AbstractEventLoop, scale: float) -> None:
        if not scale > 0:
            raise ValueError(f"time scale must be above 0, not {scale}")
        self._loop = loop
        self._scale = scale
        self._start_s = loop.time()

    def now_s(self) -> float:
        """Virtual seconds since the start."""
        return (self._loop.time() - self._start_s) * self._scale

    def loop_time_s(self, virtual_s: float) -> float:
        """The loop's time at which virtual time is ``virtual_s``."""
        return self._start_s + virtual_s / self._scale

    def real_s(self, virtual_s: float) -> float:
        """A virtual duration in real seconds."""
        return virtual_s / self._scale

    def real_ns(self, virtual_s: float) -> int:
        """A virtual duration in real nanoseconds, as Ollama prints durations."""
        return round(virtual_s / self._scale * 1e9)

    def wall_time(self, virtual_s: float) -> datetime:
        """The calendar time of a virtual time; 292 years ahead for infinity."""
        ahead_s = self.real_s(virtual_s - self.now_s())
        return datetime.now(UTC) + (_FOREVER if ahead_s == math.inf else timedelta(seconds=ahead_s))
