"""Connections per instance: so many at a time, and a line for each, first come first served (HAProxy's `maxconn`)."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(slots=True)
class _Line:
    limit: int = 0
    taken: int = 0
    waiting: deque[asyncio.Future[None]] = field(default_factory=deque)


class Slots:
    """Counts of every instance.

    A slot that is freed is handed to the first in the line. An asyncio.Condition would only wake it, and a request
    that comes at that moment would overtake it.
    """

    def __init__(self) -> None:
        self._lines: dict[str, _Line] = {}

    def set_limits(self, limits: Mapping[str, int]) -> None:
        """Take new limits. Instances that are not named stay until their last request has left."""
        for name, limit in limits.items():
            line = self._lines.setdefault(name, _Line())
            line.limit = limit
            self._hand_on(line)

    def taken(self, name: str) -> int:
        """Return the requests being served."""
        return self._lines[name].taken if name in self._lines else 0

    def queued(self, name: str) -> int:
        """Return the requests in the line."""
        return len(self._lines[name].waiting) if name in self._lines else 0

    async def take(self, name: str, deadline_s: float) -> None:
        """Wait for a slot. Raises TimeoutError when none comes free in time."""
        line = self._lines[name]
        if line.taken < line.limit and not line.waiting:
            line.taken += 1
            return
        turn = asyncio.get_running_loop().create_future()
        line.waiting.append(turn)
        try:
            async with asyncio.timeout(deadline_s):
                await turn
        except BaseException:
            if turn.done() and not turn.cancelled():
                # The slot came in the same moment as the end of the wait.
                self.free(name)
            elif turn in line.waiting:
                line.waiting.remove(turn)
            raise

    def free(self, name: str) -> None:
        """Give a slot back."""
        line = self._lines[name]
        line.taken -= 1
        self._hand_on(line)

    @staticmethod
    def _hand_on(line: _Line) -> None:
        while line.waiting and line.taken < line.limit:
            turn = line.waiting.popleft()
            if not turn.done():
                line.taken += 1
                turn.set_result(None)
