"""Steady requests in the background, for tests that break things meanwhile. No checks."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence

import aiohttp

from tests.e2e.conftest import chat, routed, until

CLIENTS = 8


class Load:
    """Eight clients, each asking for one model again and again; counts statuses, reasons and instances."""

    def __init__(self, session: aiohttp.ClientSession, url: str, models: Sequence[str] = ("alpha", "gamma")) -> None:
        self._session = session
        self._url = url
        self._models = models
        self._stop = False
        self.statuses: Counter[int] = Counter()
        self.reasons: Counter[str] = Counter()
        self.where: Counter[tuple[str, str]] = Counter()
        """Model and instance of whole answers."""
        self.failed: list[str] = []
        """What answers other than 200 said, with their model and `x-pointsman`."""

    async def __aenter__(self) -> Load:
        self._group = asyncio.TaskGroup()
        await self._group.__aenter__()
        for worker in range(CLIENTS):
            self._group.create_task(self._work(self._models[worker % len(self._models)]))
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._stop = True
        await self._group.__aexit__(None, None, None)

    async def _work(self, name: str) -> None:
        body = chat(name, stream=False, options={"num_predict": 4})
        while not self._stop:
            async with self._session.post(f"{self._url}/api/chat", json=body) as answer:
                text = await answer.text()
                instance, reason = routed(answer)
                self.statuses[answer.status] += 1
                self.reasons[reason] += 1
                self.where[name, instance] += answer.status == 200
                if answer.status != 200:
                    self.failed.append(f"{answer.status} {name} at {instance} ({reason}): {text}")

    async def grows(self, more: int) -> None:
        """Wait until so many more requests have ended."""
        target = self.statuses.total() + more

        async def reached() -> bool:
            return self.statuses.total() >= target

        await until(reached, 30, f"{more} more requests")
