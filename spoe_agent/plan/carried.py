"""What new instances say beside the plan: what all those say that they take the place of. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from typing import Any

_PLANNED = {"context_length", "max_loaded_models"}
"""Keys of the section `ollama` that the plan itself gives."""


class Contradiction(Exception):
    """Instances that go say different things, so what new ones are to have cannot be told; the text says of what."""


def carried(gone: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return `store`, `ollama` and `env` of the instances that go, as the fleet file has them. Raises Contradiction."""
    said = [dict(_said(one)) for one in gone]
    keys = dict.fromkeys(key for one in said for key in one)
    # Values of `env` may be secrets, and are not told.
    torn = [".".join(filter(None, key)) for key in keys if any(one.get(key) != said[0].get(key) for one in said)]
    if torn:
        names = ", ".join(str(one.get("name")) for one in gone)
        raise Contradiction(
            f"{names} are to go, and say different things of {', '.join(torn)}: what those that take their place are "
            "to have cannot be told; let them say the same, or write it under defaults, then plan again"
        )
    made: dict[str, Any] = {}
    for section, key in keys:
        value = deepcopy(said[0][section, key])
        if key:
            made.setdefault(section, {})[key] = value
        else:
            made[section] = value
    return made


def _said(instance: Mapping[str, Any]) -> Iterator[tuple[tuple[str, str], Any]]:
    if "store" in instance:
        yield ("store", ""), instance["store"]
    for section in ("ollama", "env"):
        for key, value in (instance.get(section) or {}).items():
            if section != "ollama" or key not in _PLANNED:
                yield (section, key), value
