"""The fleet file while it is being edited: waits for another fleet in it, and has it taken up."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from spoe_agent.assemble import Parts
from spoe_agent.fleet import Fleet, FleetError
from spoe_agent.fleet.differences import differences
from spoe_agent.fleet.file import EditedFile

log = structlog.get_logger()

INTERVAL_S = 0.5


async def another(file: EditedFile, current: Fleet, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> Fleet:
    """Wait until the file has another fleet than the current one. A file that cannot be used is logged, once."""
    seen: object = None
    while True:
        found = file.read()
        if found is not seen:
            seen = found
            if found.fleet is None:
                _refused("\n".join(map(str, found.problems)))
            elif found.fleet != current:
                return found.fleet
        await sleep(INTERVAL_S)


async def adopt(parts: Parts, fleet: Fleet) -> None:
    """Have another fleet taken up; one that cannot be is logged."""
    changes = differences(parts.fleet, fleet)
    try:
        await parts.adopt(fleet)
    except FleetError as refused:  # a file that it names is of no use
        _refused(str(refused))
    else:
        log.info("fleet file read", changes=changes)


def _refused(why: str) -> None:
    log.error("fleet file refused, the fleet before it stays in use", why=why)
