"""What can be wrong with a fleet file, as the user reads it: file, line, key, what is wrong, what to write instead.

Lives here: the forms of a problem.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

Path = tuple[str | int, ...]
"""Where a value is in the file: `("instances", 1, "url")`."""

_SECRET = re.compile(r"(?<=//)[^\s/@]*@|[^\s/:'\"]*:[^\s]*@")
"""User and password of a URL, also of one without its scheme."""

_PLAIN_KEY = re.compile(r"[\w<.-]{1,60}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Finding:
    """Something wrong at a place in the data; becomes a `Problem` once its line is known."""

    path: Path
    message: str
    hint: str = ""
    depends: tuple[Path, ...] = ()
    """Other places the finding rests on: it holds only if they could be read."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One line of what `pointsman check` prints. Always a single line of text."""

    file: str
    line: int | None
    """From 1; None when the file as a whole is meant."""
    key: str
    """`instances[1].url`; empty when no key is meant."""
    message: str
    """What is wrong."""
    hint: str = ""
    """What to write instead."""

    def __str__(self) -> str:
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        said = "; ".join(part for part in (self.message, self.hint) if part)
        return ": ".join(part for part in (place, self.key, said) if part)


class FleetError(Exception):
    """The fleet file cannot be used. `problems` has all that is wrong with it, in file order."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(sorted(problems, key=lambda problem: problem.line or 0))
        super().__init__("\n".join(map(str, self.problems)))


def dotted(path: Path) -> str:
    """Return a path as people write it: `models[0].match`."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            text += ("." if text else "") + (step if _PLAIN_KEY.fullmatch(step) else shown(step))
    return text


def called(index: int, name: str | None) -> str:
    """Return how messages call an instance: by its name, else by its place."""
    return name or f"instances[{index}]"


def shown(value: object) -> str:
    """Return a value from the file for a message: short, one line, no control characters, no password of a URL."""
    if isinstance(value, list | tuple):
        return "a list"
    if isinstance(value, dict):
        return "a mapping"
    text = "nothing" if value is None else str(value).lower() if isinstance(value, bool) else ascii(value)
    text = _SECRET.sub("***@", text)
    return text if len(text) <= 60 else text[:57] + "..."
