"""Which models are read ahead: as they were named, as far as the budget and the memory go."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from spoe_agent.routing.names import display
from spoe_agent.warm.pages import read_ahead, resident

_GIB = 1 << 30
_MIB = 1 << 20

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
class CachedModel:
    """One model's files."""

    model: str
    files: tuple[Path, ...]
    size: int
    resident: int

    def __str__(self) -> str:
        part = self.resident / self.size if self.size else 1.0
        return f"{display(self.model):40} {amount(self.resident):>10} of {amount(self.size):>10} in memory ({part:.0%})"


def amount(size: int) -> str:
    """Write bytes for people."""
    return f"{size / _GIB:.1f} GiB" if size >= _GIB else f"{size / _MIB:.1f} MiB"


def incomplete(models: Mapping[str, tuple[Path, ...]]) -> dict[str, str]:
    """Return a sentence on each model of which a file is missing, as after a pull that was cut or a deleted blob."""
    left_out = {}
    for model, files in models.items():
        name, gone = display(model), next((file for file in files if not file.exists()), None)
        if gone:
            left_out[model] = f"{name}: left out: its file {gone} is missing; `ollama pull {name}` brings it back"
    return left_out


def states(models: Mapping[str, tuple[Path, ...]]) -> dict[str, CachedModel]:
    """Return how much of each model is in memory. Raises CannotTell, OSError."""
    there = resident(list(dict.fromkeys(file for files in models.values() for file in files)))
    return {
        model: CachedModel(model, files, sum(file.stat().st_size for file in files), sum(there[file] for file in files))
        for model, files in models.items()
    }


def warm(wanted: Sequence[CachedModel], budget: int, memory: Memory) -> Iterator[str]:
    """Read the models' files, one after the other; yield a sentence on each that was not read, or not to its end.

    `budget`: bytes of these models in all that may be in memory afterwards. Raises OSError.
    """
    left = budget
    for state in wanted:
        name, missing = display(state.model), state.size - state.resident
        if state.size > left:
            yield f"{name}: not read: it has {amount(state.size)}, of the budget {amount(left)} are left"
            continue
        if missing > memory.spare():
            free = amount(max(0, memory.spare()))
            yield f"{name}: not read: {amount(missing)} are missing, and {free} of memory are to spare"
            continue
        left -= state.size
        if missing and not all(read_ahead(file, lambda: memory.spare() > 0) for file in state.files):
            yield f"{name}: not read to its end: memory became short"
