"""Virtual time: what is to happen when, played in order as fast as it goes."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from math import inf


class Events:
    """What is to happen. Times are seconds from the beginning."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self._to_come: list[tuple[float, int, Callable[[], object]]] = []
        self._scheduled = 0

    def later(self, delay_s: float, then: Callable[[], object]) -> None:
        """Have something happen once."""
        self._scheduled += 1
        heapq.heappush(self._to_come, (self.now_s + delay_s, self._scheduled, then))

    def every(self, interval_s: float, then: Callable[[], object]) -> None:
        """Have something happen again and again, for the first time after one interval."""

        def again() -> None:
            then()
            self.later(interval_s, again)

        self.later(interval_s, again)

    def play(self, goes_on: Callable[[], bool] = lambda: True, for_s: float = inf) -> None:
        """Play for so long, or while a condition holds."""
        until_s = self.now_s + for_s
        while goes_on() and self._to_come[0][0] <= until_s:
            self.now_s, _, then = heapq.heappop(self._to_come)
            then()
        if for_s < inf:
            self.now_s = until_s
