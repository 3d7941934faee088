"""The fleet file while it is being edited: waits for another fleet in it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from spoe_agent.fleet import Fleet
from spoe_agent.fleet.file import FleetFile

log = structlog.get_logger()

INTERVAL_S = 0.5


async def another(file: FleetFile, current: Fleet, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> Fleet:
    """Wait until the file has another fleet than the current one. A file that cannot be used is logged, once."""
    seen: object = None
    while True:
        found = file.read()
        if found is not seen:
            seen = found
            if found.fleet is None:
                why = "\n".join(map(str, found.problems))
                log.error("fleet file refused, the fleet before it stays in use", why=why)
            elif found.fleet != current:
                return found.fleet
        await sleep(INTERVAL_S)
