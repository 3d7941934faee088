"""Keeps HAProxy's keys as they are in their file, whoever wrote that."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import structlog

from spoe_agent.fleet import Fleet, FleetError
from spoe_agent.haproxy.key_maps import key_lines
from spoe_agent.haproxy.key_places import Maps, put
from spoe_agent.keys.file import read
from spoe_agent.keys.keyring import stamp

log = structlog.get_logger()

INTERVAL_S = 0.25
"""Who is revoked is gone within a second."""

VERIFY_INTERVAL_S = 5.0
"""So often it is looked whether others changed what HAProxy has: a reload does."""

RETRY_INTERVAL_S = 1.0
"""So often it is tried again where something went wrong: many keys are some megabytes of commands."""


class KeyKeeper:
    """Follows the file of keys."""

    def __init__(self, fleet: Callable[[], Fleet], clock: Callable[[], float] = time.monotonic) -> None:
        self._fleet = fleet
        self._clock = clock
        self._read: object = None
        self._maps: Maps = {}
        self._seen: object = None
        self._due_at_s = 0.0
        self._failed: dict[str, str] = {}

    async def run(self) -> None:
        """Keep them until cancelled."""
        while True:
            await self.keep()
            await asyncio.sleep(INTERVAL_S)

    async def keep(self) -> None:
        """Bring HAProxy up to date, if there may be something new."""
        fleet = self._fleet()
        if fleet.keys is None:
            return
        path = Path(fleet.keys.file)
        at = path, stamp(path)
        if (at, fleet.haproxy) == self._seen and self._clock() < self._due_at_s:
            return
        try:
            if at != self._read:
                self._maps = await asyncio.to_thread(_maps, path)
                self._read = at
            found = await put(fleet.haproxy, self._maps)
        except FleetError as error:
            found = {str(path): str(error)}
        self._report(found)
        self._seen = at, fleet.haproxy
        self._due_at_s = self._clock() + (RETRY_INTERVAL_S if self._failed else VERIFY_INTERVAL_S)

    def _report(self, found: dict[str, str]) -> None:
        """Say each failure once, and its end."""
        for place, why in found.items():
            if why and self._failed.get(place) != why:
                log.warning("HAProxy's keys cannot be kept current", place=place, why=why)
            elif not why and place in self._failed:
                log.info("HAProxy's keys are kept current", place=place)
        self._failed = {place: why for place, why in found.items() if why}


def _maps(path: Path) -> Maps:
    return key_lines(read(path))
