"""Whole bodies, read beside all other work: they may be tens of megabytes, and made to take long."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from typing import cast

from spoe_agent.haproxy.draining import Draining
from spoe_agent.routing import RequestFacts

LIMIT_S = 10.0
"""How long the reading of one body may take: what takes longer was made for it."""

WAITING_BYTES = 256 * 1024 * 1024
"""How much may wait to be read: some seconds of ordinary bodies, and of memory no more."""


class Crowded(Exception):
    """Too much waits to be read already; the text is fit for the caller's eyes."""


class Undecided(Exception):
    """The reading was given up, because another process is about to have the question."""


class Inspector:
    """Reads one body at a time, in steps of some milliseconds with all that waits in between."""

    def __init__(self, draining: Draining, limit_s: float = LIMIT_S, waiting_bytes: int = WAITING_BYTES) -> None:
        """`draining`: nothing is read while it is frozen. `limit_s`: for one body. `waiting_bytes`: of all
        bodies; a single one may be larger.
        """
        self._draining = draining
        self._limit_s = limit_s
        self._most_bytes = waiting_bytes
        self._here_bytes = 0
        self._turn = asyncio.Lock()

    async def read(self, steps: Generator[None, None, RequestFacts], size_bytes: int) -> RequestFacts:
        """Take the steps and return what the last one gives.

        Raises TimeoutError and Crowded, with a text for the caller, and Undecided.
        """
        if self._here_bytes and self._here_bytes + size_bytes > self._most_bytes:
            raise Crowded("too many large request bodies wait to be read; try again shortly")
        self._here_bytes += size_bytes
        try:
            async with self._turn, asyncio.timeout(self._limit_s):
                return await self._steps(steps)
        except TimeoutError:
            raise TimeoutError(f"the request body takes longer than {self._limit_s:g} s to read") from None
        finally:
            self._here_bytes -= size_bytes

    async def _steps(self, steps: Generator[None, None, RequestFacts]) -> RequestFacts:
        while not self._draining.is_frozen:
            try:
                next(steps)
            except StopIteration as done:
                return cast(RequestFacts, done.value)
            await asyncio.sleep(0)
        raise Undecided
