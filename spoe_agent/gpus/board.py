"""The latest readings of all sources by UUID, and how each source is doing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from spoe_agent.gpus.reading import GpuReading


class SourceHealth(StrEnum):
    """How a source is doing."""

    UNKNOWN = "unknown"
    """Not read yet."""
    UP = "up"
    LATE = "late"
    """Did not answer in time, or hangs."""
    DOWN = "down"
    """Says that it cannot."""


@dataclass(frozen=True, slots=True)
class SourceState:
    """A source's state, and why it is not up."""

    state: SourceHealth = SourceHealth.UNKNOWN
    why: str = ""


class GpuBoard:
    """Holds what sources published. What it gives out is whole and never changes afterwards.

    A source that is lost takes nothing away: its last readings stay and grow old. Of a GPU that two sources read, the
    one that is up counts, and of two of these the one named first.
    """

    def __init__(self, sources: Iterable[str]) -> None:
        self._states = dict.fromkeys(sources, SourceState())
        self._of: dict[str, Mapping[str, GpuReading]] = {}

    @property
    def readings(self) -> Mapping[str, GpuReading]:
        """Every GPU by UUID."""
        return self.of(*sorted(self._states, key=lambda name: self._states[name].state is not SourceHealth.UP))

    @property
    def states(self) -> Mapping[str, SourceState]:
        """Every source by name."""
        return self._states

    def of(self, *sources: str) -> Mapping[str, GpuReading]:
        """Return the GPUs of some sources only: indices and PCI bus ids are unique on one host, not among hosts."""
        if len(sources) == 1:
            return self._of.get(sources[0], {})
        return {uuid: reading for name in reversed(sources) for uuid, reading in self._of.get(name, {}).items()}

    def only(self, *sources: str) -> GpuBoard:
        """Return what these sources say now."""
        part = GpuBoard(())
        part._states = {name: self._states[name] for name in sources}
        part._of = {name: self._of[name] for name in sources if name in self._of}
        return part

    def publish(self, source: str, readings: Iterable[GpuReading]) -> None:
        """Replace a source's readings; it is up."""
        self._of[source] = {reading.uuid: reading for reading in readings}
        self.report(source, SourceState(SourceHealth.UP))

    def report(self, source: str, state: SourceState) -> None:
        """Enter a source's state."""
        if self._states.get(source) != state:
            self._states = {**self._states, source: state}


class InstanceGpus(Protocol):
    """What reads the instances' GPUs."""

    @property
    def board(self) -> GpuBoard:
        """What was read last."""

    def seats(self) -> Mapping[str, tuple[str, ...]]:
        """Return the UUIDs of each instance's GPUs, as far as they are known."""

    def orphans(self) -> Mapping[int, int]:
        """Return what Ollamas that ended have left on this host's GPUs: bytes by process id."""
