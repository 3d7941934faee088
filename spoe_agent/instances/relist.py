"""Asks instances for their lists at once, when what they have is known to have changed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable

PAUSES = 9
"""Times as long as a reading took: a client that is told 404 again and again must not keep an instance busy with lists
for more than a tenth of its time."""

MAX_PAUSE_S = 0.25


class Relister:
    """Asks in the background, while `run` runs. `ask`: has the lists of one instance read, by its name."""

    def __init__(
        self,
        ask: Callable[[str], Awaitable[None]],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ask = ask
        self._clock = clock
        self._sleep = sleep
        self._wanted: set[str] = set()
        self._asked: set[str] = set()
        self._news = asyncio.Event()

    def __call__(self, instances: Iterable[str]) -> None:
        """Have these instances' lists read as soon as may be."""
        self._wanted.update(instances)
        self._news.set()

    async def run(self) -> None:
        """Ask until cancelled."""
        self._asked.clear()
        async with asyncio.TaskGroup() as group:
            while True:
                await self._news.wait()
                self._news.clear()
                for name in self._wanted - self._asked:
                    self._asked.add(name)
                    group.create_task(self._read(name))

    async def _read(self, name: str) -> None:
        """What is wanted while it is read is read again: the answer may be older than the wish."""
        try:
            while name in self._wanted:
                self._wanted.discard(name)
                begun_s = self._clock()
                await self._ask(name)
                await self._sleep(min(PAUSES * (self._clock() - begun_s), MAX_PAUSE_S))
        finally:
            self._asked.discard(name)
