"""Request bodies as Go's encoding/json reads them into a struct, which differs from Python's json.

Keys match whatever their case, the last duplicate wins, null changes nothing, bytes after the first value are ignored,
and the first value of a wrong type is refused once all has been read. Keys of free maps (``options``) keep their case:
only structs fold.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NoReturn

from spoe_agent.simulator.errors import BadBody
from spoe_agent.simulator.go_structs import Struct

_THOUGHTS = ("high", "medium", "low", "max")
_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_TERM = re.compile(r"(\d+\.?\d*|\.\d+)([^\d.]*)")


class _Constant(ValueError):
    """NaN and Infinity are numbers to Python only."""


def _refuse_constant(name: str) -> NoReturn:
    raise _Constant(name)


def decode(body: bytes, struct: Struct, empty: str) -> dict[str, object]:
    """Decode a JSON object with its own keys in lower case. ``empty`` is what an empty body gets.

    Raises:
        BadBody: 400 with Go's text, or nearly.
    """
    if not body.strip():
        raise BadBody(empty)
    text = body.decode(errors="replace").lstrip()
    decoder = json.JSONDecoder(object_pairs_hook=_Struct, parse_constant=_refuse_constant)
    try:
        value, _ = decoder.raw_decode(text)
    except json.JSONDecodeError as error:
        raise BadBody(_go_text(text, error.pos)) from None
    except RecursionError:
        # Go goes ten thousand deep, Python's parser a thousand.
        raise BadBody("exceeded max depth") from None
    except _Constant as constant:
        raise BadBody(_go_text(text, text.index(str(constant)))) from None
    if value is None:
        return {}
    if not isinstance(value, _Struct):
        raise BadBody(f"json: cannot unmarshal {_go_type(value)} into Go value of type {struct.name}")
    value.check(struct)
    return value.folded()


def fold(value: object) -> Mapping[str, object]:
    """A nested struct with its keys in lower case; empty for what is not an object."""
    return value.folded() if isinstance(value, _Struct) else {}


def string(fields: Mapping[str, object], key: str) -> str:
    """A string field; missing and null are empty, as in Go."""
    value = fields.get(key)
    return value if isinstance(value, str) else ""


def duration_s(text: str) -> float:
    """Seconds of a Go duration such as ``1h30m`` (time.ParseDuration). Raises BadBody with Go's text."""
    rest = text.lstrip("+-") if text[:1] in ("+", "-") else text
    if rest == "0":
        return 0.0
    total_s, position = 0.0, 0
    while position < len(rest) or not rest:
        term = _TERM.match(rest, position)
        if term is None:
            raise BadBody(f'time: invalid duration "{text}"')
        if term[2] not in _UNITS:
            problem = f'unknown unit "{term[2]}"' if term[2] else "missing unit"
            raise BadBody(f'time: {problem} in duration "{text}"')
        total_s += float(term[1]) * _UNITS[term[2]]
        position = term.end()
    return -total_s if text.startswith("-") else total_s


class _Struct(dict[str, object]):
    """An object that still knows the order of its pairs, so that the last of ``model`` and ``Model`` can win."""

    __slots__ = ("_pairs",)

    def __init__(self, pairs: list[tuple[str, object]]) -> None:
        super().__init__(pairs)
        self._pairs = pairs

    def check(self, struct: Struct) -> None:
        """Raise BadBody for the first value that the struct has no place for."""
        for key, value in self._pairs:
            kind = struct.fields.get(key.lower())
            if kind is None or value is None:
                continue
            if kind in _OWN_WORDS:
                _OWN_WORDS[kind](value)
            elif not _fits(value, kind):
                found = f"{_go_type(value)} {value}" if isinstance(value, float) else _go_type(value)
                field = f"{struct.name.partition('.')[2]}.{key.lower()}"
                raise BadBody(f"json: cannot unmarshal {found} into Go struct field {field} of type {kind}")

    def folded(self) -> dict[str, object]:
        return {key.lower(): value for key, value in self._pairs if value is not None}


def _fits(value: object, kind: str) -> bool:
    if kind.startswith("[]"):
        return isinstance(value, list)
    if kind == "bool":
        return isinstance(value, bool)
    if kind == "int":
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, str if kind == "string" else dict)


def _check_duration(value: object) -> None:
    if isinstance(value, str):
        duration_s(value)
    elif isinstance(value, bool) or not isinstance(value, (int, float)):
        kinds = {"bool": "bool", "array": "[]interface {}", "object": "map[string]interface {}"}
        raise BadBody(f"Unsupported type: '{kinds[_go_type(value)]}'")


def _check_thought(value: object) -> None:
    choices = '"high", "medium", "low", "max", true, or false'
    if isinstance(value, str) and value not in _THOUGHTS:
        raise BadBody(f'invalid think value: "{value}" (must be {choices})')
    if not isinstance(value, (str, bool)):
        raise BadBody(f"think must be a boolean or string ({choices})")


_OWN_WORDS: Mapping[str, Callable[[object], None]] = MappingProxyType(
    {"api.Duration": _check_duration, "api.ThinkValue": _check_thought}
)
"""Types that read themselves."""


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
