"""Where HAProxy has its maps of keys, and how they get there: at run time over its sockets, for its next start into its
folder.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from spoe_agent import written
from spoe_agent.fleet.schema_haproxy import HAProxySettings
from spoe_agent.haproxy.key_maps import key_lines, key_maps
from spoe_agent.haproxy.runtime import Line, RuntimeAPI, RuntimeAPIError
from spoe_agent.keys.entry import Key

WRONG = OSError, TimeoutError, RuntimeAPIError
"""What goes wrong at a place."""


async def put(settings: HAProxySettings, keys: Iterable[Key]) -> dict[str, str]:
    """Bring all places up to date; return what went wrong, by place. "" where nothing did."""
    keys = list(keys)
    found = {}
    if settings.files is not None:
        found[settings.files] = _write(Path(settings.files), key_maps(keys))
    for path in settings.runtime:
        try:
            await _push(RuntimeAPI(path), key_lines(keys))
            found[path] = ""
        except WRONG as error:
            found[path] = str(error) or "no answer in time"
    return found


def _write(folder: Path, texts: Mapping[str, str]) -> str:
    try:
        for name, text in texts.items():
            written.replace(folder / name, text)
    except OSError as error:
        return str(error)
    return ""


async def _push(api: RuntimeAPI, maps: Mapping[str, Sequence[Line]]) -> None:
    """Replace HAProxy's maps, unless they are so already, in this order."""
    for name, lines in maps.items():
        references = await api.maps(name)
        if not references:
            raise RuntimeAPIError(f"it has no map of a file {name}: render HAProxy's files again, and reload it")
        for reference in references:
            if await api.lines(reference) != list(lines):
                await api.replace(reference, lines)
