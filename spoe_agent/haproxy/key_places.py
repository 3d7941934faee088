"""Where HAProxy has its maps of keys, and how they get there: at run time over its sockets, for its next start into its
folder.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path

from spoe_agent import written
from spoe_agent.fleet.schema_haproxy import HAProxySettings
from spoe_agent.haproxy.key_maps import texts
from spoe_agent.haproxy.runtime import Line, RuntimeAPI, RuntimeAPIError

ATTEMPTS = 4

WRONG = OSError, TimeoutError, RuntimeAPIError
"""What goes wrong at a place."""


Maps = Mapping[str, Sequence[Line]]
"""The lines of each map by its name (key_maps.key_lines)."""


async def put(settings: HAProxySettings, maps: Maps) -> dict[str, str]:
    """Bring all places up to date; return what went wrong, by place. "" where nothing did."""
    found = {}
    # Who is revoked is out of the HAProxy that runs first.
    for path in settings.runtime:
        try:
            await _push(RuntimeAPI(path), maps)
            found[path] = ""
        except WRONG as error:
            found[path] = str(error) or "no answer in time"
    if settings.files is not None:
        found[settings.files] = await asyncio.to_thread(_write, Path(settings.files), maps)
    return found


def _write(folder: Path, maps: Maps) -> str:
    try:
        for name, text in texts(maps).items():
            written.replace(folder / name, text)
    except OSError as error:
        return str(error)
    return ""


async def _push(api: RuntimeAPI, maps: Maps) -> None:
    """Replace HAProxy's maps, unless they are so already, in this order."""
    for name, lines in maps.items():
        references = await api.maps(name)
        if not references:
            raise RuntimeAPIError(f"it has no map of a file {name}: render HAProxy's files again, and reload it")
        for reference in references:
            await _replace(api, reference, lines)


async def _replace(api: RuntimeAPI, reference: str, lines: Sequence[Line]) -> None:
    """Replace one map. Where others do the same meanwhile, whoever began last wins: HAProxy refuses those before."""
    for attempt in range(ATTEMPTS):
        was = await api.lines(reference)
        # Ten thousand lines take a while, in which others are to be served.
        if await asyncio.to_thread(_are_same, was, lines):
            return
        try:
            await api.change(reference, was, lines)
        except RuntimeAPIError:
            if attempt == ATTEMPTS - 1:
                raise


def _are_same(some: Sequence[Line], others: Sequence[Line]) -> bool:
    return len(some) == len(others) and set(some) == set(others)
