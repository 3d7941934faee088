"""Whole bodies, read beside all other work: they may be tens of megabytes, and made to take long."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from typing import cast

from spoe_agent.haproxy.draining import Draining
from spoe_agent.routing import RequestFacts

LIMIT_S = 10.0
"""How long the reading of one body may take: what takes longer was made for it."""


class Undecided(Exception):
    """The reading was given up, because another process is about to have the question."""


class Inspector:
    """Reads one body at a time, in steps of some milliseconds with all that waits in between."""

    def __init__(self, draining: Draining, limit_s: float = LIMIT_S) -> None:
        """`draining`: nothing is read while it is frozen. `limit_s`: how long one body may take."""
        self._draining = draining
        self._limit_s = limit_s
        self._turn = asyncio.Lock()

    async def read(self, steps: Generator[None, None, RequestFacts]) -> RequestFacts:
        """Take the steps and return what the last one gives. Raises TimeoutError, Undecided."""
        async with self._turn, asyncio.timeout(self._limit_s):
            while not self._draining.is_frozen:
                try:
                    next(steps)
                except StopIteration as done:
                    return cast(RequestFacts, done.value)
                await asyncio.sleep(0)
            raise Undecided
