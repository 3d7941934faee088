"""What is said of something that was looked at."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from spoe_agent.fleet.problems import Path, dotted


class Level(StrEnum):
    """What a remark asks for."""

    OK = "ok"
    NOTE = "note"
    WRONG = "wrong"


@dataclass(frozen=True, slots=True)
class Remark:
    """One thing that was found."""

    level: Level
    text: str
    hint: str = ""
    """What to do."""
    path: Path = ()
    """The place in the fleet file that it is about."""

    def __str__(self) -> str:
        place = f"{dotted(self.path)}: " if self.path else ""
        return f"{self.level:5} {place}{self.text}" + (f"\n      {self.hint}" if self.hint else "")


def ok(text: str) -> Remark:
    """All is well."""
    return Remark(Level.OK, text)


def note(text: str, hint: str = "", path: Path = ()) -> Remark:
    """Worth knowing; may be meant so."""
    return Remark(Level.NOTE, text, hint, path)


def wrong(text: str, hint: str = "") -> Remark:
    """Does not work as it is."""
    return Remark(Level.WRONG, text, hint)
