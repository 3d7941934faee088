"""What the end-to-end tests of health and limits share: faults, the agent's status, slow streams."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from spoe_agent.rig.stack import Stack
from tests.e2e.conftest import chat, routed

QUICK = {
    "hold_timeout": "5s",
    "poll": {"interval": "200ms", "timeout": "500ms"},
    "health": {"stall": "1s", "load_stall": "2s", "probe_interval": "500ms", "probe_timeout": "1s"},
}
"""Policies that find faults sooner than the defaults; what is asserted is that, and why, not how fast."""


async def fault(session: aiohttp.ClientSession, stack: Stack, instance: str, kind: str, **more: object) -> None:
    """Put a fault in force on a simulated instance."""
    url = next(one.url for one in stack.fleet.instances if one.name == instance)
    async with session.post(f"{url}/sim/fault", json={"kind": kind, **more}) as answer:
        assert answer.status == 200, await answer.text()


async def status(session: aiohttp.ClientSession, stack: Stack) -> dict[str, Any]:
    """Return what `pointsman status --json` prints."""
    async with session.get(f"http://{stack.fleet.listeners.admin}/status") as answer:
        found: dict[str, Any] = await answer.json()
    return found


async def one(session: aiohttp.ClientSession, stack: Stack, instance: str) -> dict[str, Any]:
    """Return the status of one instance."""
    return next(i for i in (await status(session, stack))["instances"] if i["name"] == instance)


async def by_hand(session: aiohttp.ClientSession, stack: Stack, instance: str, what: str) -> None:
    """Do what `pointsman drain` and `pointsman ready` do."""
    async with session.post(f"http://{stack.fleet.listeners.admin}/instances/{instance}/{what}") as answer:
        assert answer.status == 200, await answer.text()


async def ask(session: aiohttp.ClientSession, stack: Stack, model: str, tokens: int = 2) -> tuple[int, str]:
    """Ask for a few tokens; return the status and the instance."""
    body = chat(model, stream=False, options={"num_predict": tokens})
    async with session.post(f"{stack.url}/api/chat", json=body) as answer:
        await answer.read()
        return answer.status, routed(answer)[0]


@asynccontextmanager
async def asking(
    session: aiohttp.ClientSession, stack: Stack, model: str, clients: int = 2, failed: list[int] | None = None
) -> AsyncIterator[None]:
    """Clients that ask one after another in the background, whatever they get; `failed` gets what was not 200."""
    failed = [] if failed is None else failed

    async def client() -> None:
        while True:
            try:
                answer, _ = await ask(session, stack, model)
                failed.extend([answer] if answer != 200 else [])
            except (aiohttp.ClientError, TimeoutError, AssertionError):
                failed.append(0)
                await asyncio.sleep(0.05)
            await asyncio.sleep(0.01)

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(client()) for _ in range(clients)]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
