"""Request bodies as Go's encoding/json reads them into a struct, which differs from Python's json.

Keys match whatever their case, the last duplicate wins, and bytes after the first value are ignored. Keys of free maps
(``options``) keep their case: only structs fold.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import NoReturn

from spoe_agent.simulator.errors import OllamaError

_TEXTS = frozenset({"model", "name"})
"""Fields that are texts and that tests name twice."""


def _refuse_constant(name: str) -> NoReturn:
    raise json.JSONDecodeError("constant", name, 0)


def decode(body: bytes) -> dict[str, object]:
    """Decode a JSON object with its own keys in lower case.

    Raises:
        OllamaError: 400 with Go's text, or nearly.
    """
    # gin answers so to an empty body; the handlers turn io.EOF into these words.
    if not body.strip():
        raise OllamaError(400, "missing request body")
    text = body.decode(errors="replace").lstrip()
    decoder = json.JSONDecoder(object_pairs_hook=_Struct, parse_constant=_refuse_constant)
    try:
        value, _ = decoder.raw_decode(text)
    except json.JSONDecodeError as error:
        raise OllamaError(400, _go_text(text, error.pos)) from None
    if not isinstance(value, _Struct):
        raise OllamaError(400, f"json: cannot unmarshal {_go_type(value)} into Go value of type api.Request")
    return value.folded()


def fold(value: object) -> Mapping[str, object]:
    """A nested struct with its keys in lower case; empty for what is not an object."""
    return value.folded() if isinstance(value, _Struct) else {}


def string(fields: Mapping[str, object], key: str) -> str:
    """A string field; missing and null are empty, as in Go. Raises OllamaError 400 for other types."""
    value = fields.get(key)
    if value is None:
        return ""
    if not isinstance(value, str):
        text = f"json: cannot unmarshal {_go_type(value)} into Go struct field .{key} of type string"
        raise OllamaError(400, text)
    return value


class _Struct(dict[str, object]):
    """An object that still knows the order of its pairs, so that the last of ``model`` and ``Model`` can win."""

    __slots__ = ("_pairs",)

    def __init__(self, pairs: list[tuple[str, object]]) -> None:
        super().__init__(pairs)
        self._pairs = pairs

    def folded(self) -> dict[str, object]:
        found: dict[str, object] = {}
        for key, value in self._pairs:
            name = key.lower()
            found[name] = _text_after(found.get(name), value) if name in _TEXTS else value
        return found


def _text_after(before: object, value: object) -> object:
    """Return what a text says after one more value: null leaves it as it is, and an error is never taken back."""
    return before if value is None or not isinstance(before, str | None) else value


def _go_text(text: str, position: int) -> str:
    if position >= len(text):
        return "unexpected EOF"
    return f"invalid character {text[position]!r} looking for beginning of value"


def _go_type(value: object) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, (int, float)):
        return "number"
    if isinstance(value, list):
        return "array"
    return "string" if isinstance(value, str) else "object"
