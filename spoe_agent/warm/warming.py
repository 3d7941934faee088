"""Which models are read ahead: as they were named, as far as the budget and the memory go."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from spoe_agent.routing.names import display
from spoe_agent.warm.pages import read_ahead, resident

GIB = 1 << 30

_SPARE = 0.1
"""Part of the memory that stays available to programs."""


@dataclass(frozen=True, slots=True)
class Memory:
    """Of this host, in bytes. What the page cache holds counts as available."""

    total: Callable[[], int] = lambda: int(psutil.virtual_memory().total)
    available: Callable[[], int] = lambda: int(psutil.virtual_memory().available)

    def spare(self) -> int:
        """Return what may be filled with files."""
        return int(self.available() - _SPARE * self.total())


@dataclass(frozen=True, slots=True)
class State:
    """One model's files."""

    model: str
    files: tuple[Path, ...]
    size: int
    resident: int

    def __str__(self) -> str:
        part = self.resident / self.size if self.size else 1.0
        return (
            f"{display(self.model):40} {self.resident / GIB:6.1f} of {self.size / GIB:6.1f} GiB in memory ({part:.0%})"
        )


def states(models: Mapping[str, tuple[Path, ...]]) -> dict[str, State]:
    """Return how much of each model is in memory. Raises CannotTell, OSError."""
    there = resident(list(dict.fromkeys(file for files in models.values() for file in files)))
    return {
        model: State(model, files, sum(file.stat().st_size for file in files), sum(there[file] for file in files))
        for model, files in models.items()
    }


def warm(wanted: Sequence[State], budget: int, memory: Memory) -> Iterator[str]:
    """Read the models' files, one after the other; yield a sentence on each that was not read, or not to its end.

    `budget`: bytes of these models in all that may be in memory afterwards. Raises OSError.
    """
    left = budget
    for state in wanted:
        name, missing = display(state.model), state.size - state.resident
        if state.size > left:
            yield f"{name}: not read: it has {state.size / GIB:.1f} GiB, of the budget {left / GIB:.1f} GiB are left"
            continue
        if missing > memory.spare():
            free = max(0, memory.spare()) / GIB
            yield f"{name}: not read: {missing / GIB:.1f} GiB are missing, and {free:.1f} GiB of memory are to spare"
            continue
        left -= state.size
        if missing and not all(read_ahead(file, lambda: memory.spare() > 0) for file in state.files):
            yield f"{name}: not read to its end: memory became short"
