"""One body for several takers, as it comes: the slowest sets the pace, and no more than a few chunks are kept."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator
from contextlib import asynccontextmanager

STALL_S = 60.0
"""Who takes nothing for so long keeps the others waiting no longer."""


class Feed:
    """One taker's side."""

    def __init__(self, stall_s: float) -> None:
        self._stall_s = stall_s
        self._chunks: asyncio.Queue[bytes | Exception | None] = asyncio.Queue(maxsize=1)
        self._limit: asyncio.Timeout | None = None
        self.is_closed = False

    @asynccontextmanager
    async def taken(self) -> AsyncIterator[None]:
        """Leaving ends it: nothing more is wanted. Raises TimeoutError within when nothing is taken for too long."""
        try:
            async with asyncio.timeout(None) as self._limit:
                yield
        except TimeoutError:
            if self._limit is not None and self._limit.expired():
                raise TimeoutError(f"took nothing of the body for {self._stall_s:.0f} s") from None
            raise
        finally:
            self.is_closed = True
            while not self._chunks.empty():
                self._chunks.get_nowait()

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield what comes, from now on. Raises what kept it from coming."""
        while (chunk := await self._chunks.get()) is not None:
            if isinstance(chunk, Exception):
                raise chunk
            yield chunk

    async def put(self, chunk: bytes | Exception | None) -> None:
        """Hand a chunk over, None for the end; who does not take it in time is told so."""
        if self.is_closed:
            return
        try:
            async with asyncio.timeout(self._stall_s):
                await self._chunks.put(chunk)
        except TimeoutError:
            self.is_closed = True
            if self._limit is not None:
                self._limit.reschedule(asyncio.get_running_loop().time())


class Tee:
    """Hands a body on while `run` runs."""

    def __init__(self, body: AsyncIterable[bytes], takers: int, stall_s: float = STALL_S) -> None:
        self._body = body
        self.feeds = [Feed(stall_s) for _ in range(takers)]

    async def run(self) -> None:
        """Hand on until the end, or until nobody wants more. What ends it early is told to all."""
        end: Exception | None = None
        try:
            async for chunk in self._body:
                await self._put(chunk)
                if all(feed.is_closed for feed in self.feeds):
                    return
        except Exception as error:  # whatever a body can break with
            end = error
        await self._put(end)

    async def _put(self, chunk: bytes | Exception | None) -> None:
        await asyncio.gather(*(feed.put(chunk) for feed in self.feeds))
