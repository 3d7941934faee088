"""Keys as maps for HAProxy: whose a hash is, and which models go with which list of patterns. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from spoe_agent.haproxy.models_map import name_regex
from spoe_agent.haproxy.runtime import Line
from spoe_agent.keys.entry import Key

KEYS_MAP = "pointsman-keys.map"
"""A key's hash and its line (keys.entry)."""
RIGHTS_MAP = "pointsman-rights.map"
"""A regex over `ID=MODEL` for each list of models that keys have; HAProxy goes by it when the agent does not answer."""

_HEADS = {
    KEYS_MAP: "# SHA-256 of a key, and the key's line; written by `pointsman key` and the agent.\n",
    RIGHTS_MAP: "# Models by list of patterns (regex over ID=MODEL); written by `pointsman key` and the agent.\n",
}


def key_lines(keys: Iterable[Key]) -> dict[str, list[Line]]:
    """Return the lines of each map, in the order in which they are to be put in place: no key before its models."""
    keys = list(keys)
    lists = {key.models_id: key.models for key in keys if key.models is not None}
    rights = [(f"^{models_id}=({'|'.join(map(_short, models))})$", "1") for models_id, models in lists.items()]
    return {RIGHTS_MAP: rights, KEYS_MAP: [(key.hash, key.line) for key in keys]}


def texts(maps: Mapping[str, Sequence[Line]]) -> dict[str, str]:
    """Return the maps' files."""
    return {name: _HEADS[name] + "".join(f"{a} {b}\n" for a, b in lines) for name, lines in maps.items()}


def _short(pattern: str) -> str:
    """Return a regex for the short form of a model's name, without its marks of beginning and end."""
    return name_regex(pattern)[1:-1]
