"""What a request that changes a model store says: path and body to a Change.

The body is read as Go's encoding/json reads it into Ollama's structs (api/types.go): keys in any case, the last of
several counts, what follows the value is ignored. A body that cannot be read names nothing; Ollama says what is wrong
with it. Of a large one the beginning must do: what stands behind it names nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from spoe_agent.requests.scan import Scan, folded
from spoe_agent.routing.change import Change, Verb
from spoe_agent.routing.names import canonical

BLOBS = "/api/blobs/"

_VERBS = {f"/api/{verb}": verb for verb in (Verb.PULL, Verb.PUSH, Verb.CREATE, Verb.COPY, Verb.DELETE)}

_NAMES = ("model", "name", "source", "destination", "from")

CHANGE_BYTES = 64 * 1024
"""How much of a body is looked at."""

CHANGE_PATHS = tuple(sorted(_VERBS))
"""Paths whose small JSON bodies are read. Uploads are gigabytes, and name nothing."""


def read_change(path: str, body: bytes, size: int) -> Change | None:
    """Return what a request for this path wants changed, or None when that is no such path.

    `body` is all of it, or the beginning of a body of this size.
    """
    if path.startswith(BLOBS):
        return Change(Verb.UPLOAD)
    verb = _VERBS.get(path)
    if verb is None:
        return None
    fields = _beginning(body[:CHANGE_BYTES]) if size > min(len(body), CHANGE_BYTES) else _fields(body)
    named = _name(fields, "model") or _name(fields, "name")
    if verb is Verb.COPY:
        return Change(verb, _name(fields, "source"), _name(fields, "destination"))
    if verb is Verb.PULL:
        return Change(verb, makes=named)
    if verb is Verb.CREATE:
        return Change(verb, _name(fields, "from"), named)
    return Change(verb, named)


def _fields(body: bytes) -> Mapping[str, Any]:
    text = body.decode("utf-8", "replace").lstrip(" \t\r\n")
    try:
        pairs, _ = json.JSONDecoder(object_pairs_hook=list).raw_decode(text)
    except json.JSONDecodeError:
        return {}
    except (ValueError, RecursionError):
        # Go takes longer numbers than Python, and deeper nesting.
        return _beginning(body)
    is_object = isinstance(pairs, list) and all(isinstance(pair, tuple) for pair in pairs)
    return {folded(key): value for key, value in pairs if value is not None} if is_object else {}


def _beginning(body: bytes) -> Mapping[str, Any]:
    return {key: Scan(body, key).run().value for key in _NAMES}


def _name(fields: Mapping[str, Any], key: str) -> str:
    value = fields.get(key)
    try:
        return canonical(value) if isinstance(value, str) else ""
    except ValueError:
        return ""
