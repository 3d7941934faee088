"""Asks instances for their lists at once, when what they have is known to have changed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable

PAUSE_S = 0.25
"""Between two times for one instance: a client that is told 404 again and again must not keep it busy with lists."""


class Relister:
    """Asks in the background. `ask`: has the lists of one instance read, by its name."""

    def __init__(
        self,
        ask: Callable[[str], Awaitable[None]],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._ask = ask
        self._sleep = sleep
        self._wanted: set[str] = set()
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def __call__(self, instances: Iterable[str]) -> None:
        """Have these instances' lists read as soon as may be. Must be called in the running loop."""
        for name in instances:
            self._wanted.add(name)
            if name not in self._tasks:
                self._tasks[name] = asyncio.get_running_loop().create_task(self._run(name))

    async def _run(self, name: str) -> None:
        """What is wanted while it is read is read again: the answer may be older than the wish."""
        try:
            while name in self._wanted:
                self._wanted.discard(name)
                await self._ask(name)
                await self._sleep(PAUSE_S)
        finally:
            del self._tasks[name]
