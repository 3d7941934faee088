"""One stream of events for all who watch: made once a second, and only while somebody does.

Nobody has a queue: whoever reads slowly skips to what is newest, so nothing is kept for anybody but one event.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import suppress

from spoe_agent.agent.persistently import persistently

TICK_S = 1.0

MAX_VIEWERS = 64

Make = Callable[[], Awaitable[bytes]]


class Full(Exception):
    """Nobody more may watch; the text is for the eyes of who wanted to."""


class Broadcast:
    """Gives all viewers the same events. `make`: makes one; `tick_s`: how often."""

    def __init__(self, make: Make, tick_s: float = TICK_S) -> None:
        self._make = make
        self._tick_s = tick_s
        self._task: asyncio.Task[None] | None = None
        self._event = b""
        self._number = 0
        self._turn = asyncio.Condition()
        self._is_closed = False
        self.viewers = 0
        self.made = 0
        """Events since the start."""

    async def follow(self) -> AsyncGenerator[bytes, None]:
        """Give the present event, and each one after it that is not outrun, until closed. Raises Full."""
        if self.viewers >= MAX_VIEWERS:
            raise Full(f"{self.viewers} watch already; close one, or ask GET /status")
        self.viewers += 1
        if self._task is None:
            self._number = 0
            self._task = asyncio.ensure_future(persistently("showing the fleet", self._run))
        try:
            seen = 0
            while True:
                await self._newer_than(seen)
                if self._is_closed:
                    return
                seen, event = self._number, self._event
                yield event
        finally:
            self.viewers -= 1
            if not self.viewers:
                await self._rest()

    async def _newer_than(self, seen: int) -> None:
        async with self._turn:
            await self._turn.wait_for(lambda: self._number > seen or self._is_closed)

    async def _run(self) -> None:
        while True:
            event = await self._make()
            self.made += 1
            async with self._turn:
                self._number, self._event = self._number + 1, event
                self._turn.notify_all()
            await asyncio.sleep(self._tick_s)

    async def _rest(self) -> None:
        """Nobody looks: nothing is made, nothing is kept."""
        task, self._task, self._event = self._task, None, b""
        if task is not None:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def close(self) -> None:
        """End every viewer's stream."""
        async with self._turn:
            self._is_closed = True
            self._turn.notify_all()
