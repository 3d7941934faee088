"""The fleet file while it is being edited: waits for another fleet in it.

Must not live here: what a new fleet means to anybody.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import structlog

from spoe_agent.fleet import Fleet, FleetError, load

log = structlog.get_logger()

INTERVAL_S = 0.5


async def another(path: Path, current: Fleet, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> Fleet:
    """Wait until the file has another fleet than the current one. A file that cannot be used is logged, once."""
    seen: object = None
    while True:
        stamp = _stamp(path)
        if stamp != seen:
            seen = stamp
            try:
                fleet = load(path)
            except FleetError as error:
                log.error("fleet file refused, the fleet before it stays in use", why=str(error))
            else:
                if fleet != current:
                    return fleet
        await sleep(INTERVAL_S)


def _stamp(path: Path) -> object:
    """Return what changes when the file is written or replaced."""
    try:
        found = path.stat()
    except OSError as error:
        return error.errno
    return found.st_mtime_ns, found.st_size, found.st_ino
