"""Keeps HAProxy's map of models current: in the folder that it reads when it starts, and in its memory while it runs.

Off the decisions' path: looked at once a second, written when something changed or was changed by others (a reload, a
new rendering).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import structlog

from spoe_agent.agent.board import Board
from spoe_agent.fleet import Fleet, specs
from spoe_agent.fleet.schema_haproxy import HAProxySettings
from spoe_agent.haproxy.models_map import MODELS_MAP, MapEntry, entries, text
from spoe_agent.haproxy.runtime import RuntimeAPI, RuntimeAPIError
from spoe_agent.routing import FleetSpec, Snapshot

log = structlog.get_logger()

INTERVAL_S = 1.0

VERIFY_INTERVAL_S = 5.0
"""So often it is looked whether others changed it."""


class MapKeeper:
    """Keeps the map at all places that the fleet file names, as it is at the time."""

    def __init__(self, fleet: Callable[[], Fleet], board: Board, clock: Callable[[], float] = time.monotonic) -> None:
        self._fleet = fleet
        self._board = board
        self._clock = clock
        self._lock = asyncio.Lock()
        self._seen: object = None
        self._lines: list[MapEntry] = []
        self._kept: dict[str, tuple[list[MapEntry], float]] = {}
        self._failed: dict[str, str] = {}

    async def run(self) -> None:
        """Keep it until cancelled."""
        while True:
            await self.keep()
            await asyncio.sleep(INTERVAL_S)

    async def keep(self) -> None:
        """Bring every place up to date. Before anything was read, what an agent before us wrote is better."""
        async with self._lock:
            await self._keep()

    async def _keep(self) -> None:
        fleet = self._fleet()
        places = _places(fleet.haproxy)
        snapshot = self._board.snapshot({}, self._clock())
        if not places or all(state.installed_at_s is None for state in snapshot.instances.values()):
            return
        spec = specs(fleet)
        lines = self._current(spec, snapshot)
        for place, put in places.items():
            before = self._kept.get(place)
            if before is None or before[0] != lines or self._clock() - before[1] >= VERIFY_INTERVAL_S:
                await self._keep_at(place, put(spec, lines), lines)

    def _current(self, fleet: FleetSpec, snapshot: Snapshot) -> list[MapEntry]:
        """Return the lines, made anew only when what they are made of has changed: many models take milliseconds."""
        seen = (
            fleet,
            [
                (name, state.installed, state.loaded.keys(), active.loading.keys(), active.leaving)
                for name, state in snapshot.instances.items()
                for active in [snapshot.active(name)]
            ],
        )
        if seen != self._seen:
            self._seen, self._lines = seen, entries(fleet, snapshot)
        return self._lines

    async def _keep_at(self, place: str, kept: Awaitable[None], lines: list[MapEntry]) -> None:
        """Bring one place up to date. A failure is said once, not at every try, and so is its end."""
        try:
            await kept
        except (OSError, TimeoutError, RuntimeAPIError) as error:
            why = str(error) or "no answer in time"
            if self._failed.get(place) != why:
                log.warning("HAProxy's map of models cannot be kept current", place=place, why=why)
            self._failed[place] = why
            return
        if self._failed.pop(place, None) is not None or place not in self._kept:
            log.info("HAProxy's map of models is kept current", place=place, models=len(lines))
        self._kept[place] = (lines, self._clock())


_Put = Callable[[FleetSpec, list[MapEntry]], Awaitable[None]]


def _places(settings: HAProxySettings) -> dict[str, _Put]:
    """Return where the map is kept, and how it is put there."""
    found: dict[str, _Put] = {path: partial(_push, RuntimeAPI(path)) for path in settings.runtime}
    if settings.files is not None:
        file = Path(settings.files) / MODELS_MAP
        found[str(file)] = partial(_write, file)
    return found


async def _write(path: Path, fleet: FleetSpec, lines: list[MapEntry]) -> None:
    await asyncio.to_thread(_replace, path, text(fleet, lines).encode())


def _replace(path: Path, content: bytes) -> None:
    """Put a file in place as a whole, unless it is there already. What is there may be damaged."""
    if path.exists() and path.read_bytes() == content:
        return
    beside = path.with_name(f".{path.name}.new")
    beside.write_bytes(content)
    beside.replace(path)


async def _push(api: RuntimeAPI, _fleet: FleetSpec, lines: list[MapEntry]) -> None:
    """Replace HAProxy's maps of this name, unless they are so already."""
    references = await api.maps(MODELS_MAP)
    if not references:
        raise RuntimeAPIError(f"it has no map of a file {MODELS_MAP}: does it run with what `render haproxy` wrote?")
    for reference in references:
        if await api.lines(reference) != lines:
            await api.replace(reference, lines)
