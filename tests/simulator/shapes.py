"""What JSON must look like, and how what came differs.

A type stands for any value of it, a dict for exactly these keys (one that ends in `?` may be missing), a list for
exactly these items; everything else for itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Each:
    """A list of one or more, each like this."""

    item: object


@dataclass(frozen=True)
class Lines:
    """A native stream: some lines, then the last one."""

    each: object
    last: object


@dataclass(frozen=True)
class Events:
    """A stream of server-sent events, (name, data): `each` may come often, the others once, in this order."""

    first: list[object]
    each: object
    last: list[object]


def differences(wanted: Any, found: Any, where: str = "$") -> Iterator[str]:
    """Tell where ``found`` is not like ``wanted``."""
    if isinstance(wanted, (Lines, Events)):
        yield from _stream(wanted, found, where)
    elif isinstance(wanted, type):
        if not isinstance(found, wanted) or (wanted is int and isinstance(found, bool)):
            yield f"{where}: {found!r} instead of a {wanted.__name__}"
    elif isinstance(wanted, Each):
        if not isinstance(found, list) or not found:
            yield f"{where}: {found!r} instead of a list with something in it"
        else:
            for number, item in enumerate(found):
                yield from differences(wanted.item, item, f"{where}[{number}]")
    elif isinstance(wanted, dict) and isinstance(found, dict):
        yield from _object(wanted, found, where)
    elif isinstance(wanted, (list, tuple)) and isinstance(found, (list, tuple)) and len(wanted) == len(found):
        for number, (one, other) in enumerate(zip(wanted, found, strict=True)):
            yield from differences(one, other, f"{where}[{number}]")
    elif wanted != found or isinstance(wanted, bool) != isinstance(found, bool):
        yield f"{where}: {found!r} instead of {wanted!r}"


def _object(wanted: dict[str, Any], found: dict[str, Any], where: str) -> Iterator[str]:
    named = {key.removesuffix("?"): shape for key, shape in wanted.items()}
    for key in found.keys() - named.keys():
        yield f"{where}.{key}: {found[key]!r} is too much"
    for key, shape in named.items():
        if key in found:
            yield from differences(shape, found[key], f"{where}.{key}")
        elif key in wanted:
            yield f"{where}.{key} is missing"


def _stream(wanted: Lines | Events, found: Any, where: str) -> Iterator[str]:
    first, last = ([], [wanted.last]) if isinstance(wanted, Lines) else (wanted.first, wanted.last)
    if not isinstance(found, list) or len(found) <= len(first) + len(last):
        yield f"{where}: {found!r} instead of a stream"
        return
    repeated = len(found) - len(first) - len(last)
    for number, (shape, item) in enumerate(zip([*first, *[wanted.each] * repeated, *last], found, strict=True)):
        yield from differences(shape, item, f"{where}[{number}]")
