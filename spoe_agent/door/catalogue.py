"""One list of models for the whole fleet, in the shapes of Ollama's own (api/types.go, openai/openai.go).

Pure. Entries are passed on as the instances sent them, so that clients find whatever their Ollama's version says.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from operator import itemgetter
from typing import Any

from spoe_agent.instances.lists import Lists, ModelEntry, seconds
from spoe_agent.routing.rights import Rights

FleetLists = Mapping[str, Lists]
"""What the instances say, by name, in the fleet file's order."""


def tags(fleet: FleetLists) -> dict[str, Any]:
    """Return `/api/tags`: each name once, the one changed last first, as Ollama sorts (server/routes.go)."""
    return {"models": [entry for _, _, entry in _newest(fleet)]}


def ps(fleet: FleetLists) -> dict[str, Any]:
    """Return `/api/ps`: every copy, with the name of its instance in a field that clients pass over; who stays longest
    comes first, as with Ollama (server/routes.go PsHandler).
    """
    copies = [{**entry, "instance": name} for name, lists in fleet.items() for entry in lists.loaded.values()]
    return {"models": sorted(copies, key=lambda copy: seconds(copy.get("expires_at")) or 0.0, reverse=True)}


def openai_models(fleet: FleetLists) -> dict[str, Any]:
    """Return `/v1/models`; `data` is null when there are none (openai/openai.go ToListCompletion)."""
    data = [
        {"id": entry.get("name"), "object": "model", "created": int(changed_s), "owned_by": key.split("/")[1]}
        for changed_s, key, entry in _newest(fleet)
    ]
    return {"object": "list", "data": data or None}


def version(fleet: FleetLists) -> dict[str, Any]:
    """Return `/api/version`: the lowest, because what a client concludes from it must hold wherever it is served."""
    known = [lists.version for lists in fleet.values() if lists.version]
    return {"version": min(known, key=_order, default="")}


class Listing(Enum):
    """What instances are asked for an answer to be fresh, beside the polls."""

    STORES = "stores"
    LOADED = "loaded"


@dataclass(frozen=True, slots=True)
class FleetAnswer:
    """One answer for the whole fleet."""

    write: Callable[[FleetLists], dict[str, Any]]
    of: Callable[[Lists], object]
    """What of an instance's lists it is made of: as long as that is the same, so is the answer."""
    source: Listing | None = Listing.STORES
    """None: what changes only with the server's process."""
    is_theirs: bool = False
    """Where all instances say the same, what they say is the answer."""


ANSWERS: Mapping[str, FleetAnswer] = {
    "/api/tags": FleetAnswer(tags, lambda lists: lists.installed_text, is_theirs=True),
    "/v1/models": FleetAnswer(openai_models, lambda lists: lists.installed_text),
    "/api/ps": FleetAnswer(ps, lambda lists: lists.loaded_text, Listing.LOADED),
    "/api/version": FleetAnswer(version, lambda lists: lists.version, None),
}
"""By path."""


MODEL_LISTS = frozenset({"/api/tags", "/v1/models", "/api/ps"})
"""Those that tell of models."""


def only(fleet: FleetLists, rights: Rights) -> FleetLists:
    """Return the lists with the models that may be seen."""
    return {name: lists.only(rights.may_use) for name, lists in fleet.items()}


def differing(fleet: FleetLists) -> list[str]:
    """Return the models, by canonical key, that are not the same in all stores that have one of this name."""
    digests: dict[str, set[str]] = {}
    for lists in _stores(fleet):
        for key, entry in lists.installed.items():
            digests.setdefault(key, set()).add(str(entry.get("digest")))
    return sorted(key for key, found in digests.items() if len(found) > 1)


def _stores(fleet: FleetLists) -> list[Lists]:
    """Return one instance's lists for each that differ: whoever shares a store says the same, letter for letter."""
    return list({lists.installed_text: lists for lists in fleet.values()}.values())


def _newest(fleet: FleetLists) -> list[tuple[float, str, ModelEntry]]:
    """Return when each model was changed, its key and its entry, the one changed last first. Of different ones under
    one name, the newest.
    """
    found: dict[str, tuple[float, str, ModelEntry]] = {}
    for lists in _stores(fleet):
        for key, entry in lists.installed.items():
            changed_s = seconds(entry.get("modified_at")) or 0.0
            if key not in found or changed_s > found[key][0]:
                found[key] = changed_s, key, entry
    return sorted(found.values(), key=itemgetter(0), reverse=True)


def _order(version: str) -> tuple[list[int], bool, str]:
    """Semantic order as far as Ollama uses it: 0.9.7, 0.30.0-rc2, 0.30.0."""
    numbers, _, before = version.removeprefix("v").partition("-")
    return [int(number) for number in re.findall(r"\d+", numbers)], not before, before
