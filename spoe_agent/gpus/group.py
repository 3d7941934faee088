"""An instance's GPUs together: what a decision may ask of them.

Pure: readings and times are arguments.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import TypeVar

from spoe_agent.gpus.reading import GpuReading

T = TypeVar("T")

SINGLE_GPU_SHARE = 0.8
"""Ollama puts a model on one GPU if it predicts at most this part of the free memory (server/sched.go)."""

SLOWING = frozenset({"sw_power_cap", "hw_slowdown", "sw_thermal", "hw_thermal", "hw_power_brake"})
"""Clock limits that make a busy GPU slower than it could be: power and heat. The others are idleness or settings."""

APPLICATION_XIDS = frozenset({13, 31, 43, 45, 68, 109})
"""Xids that a faulty program causes on a sound GPU (NVIDIA's Xid guide; k8s-device-plugin ignores the same)."""

HIDDEN_BYTES = 1 << 30
"""More use than this that no listed process accounts for: the list is not whole (another PID namespace).
A process costs the driver some 10 MB beyond its own figure, measured on an H200."""


@dataclass(frozen=True, slots=True)
class GroupReading:
    """The GPUs of one instance. Sums are None unless every GPU has the value."""

    missing: tuple[str, ...] = ()
    """UUIDs of which there is no reading at all."""
    memory_total_bytes: int | None = None
    memory_free_bytes: int | None = None
    largest_free_bytes: int | None = None
    """Free memory of the GPU that has most of it."""
    foreign_bytes: int | None = None
    """Memory that other programs hold on these GPUs."""
    throttled: frozenset[str] = frozenset()
    """What slows any of them down, out of `SLOWING`."""
    failing: tuple[str, ...] = ()
    """One sentence per GPU that is broken or reports errors of its own."""
    age_s: float | None = None
    """Of the oldest reading; None when there is none."""

    def fits_one_gpu(self, model_bytes: int) -> bool | None:
        """Say whether Ollama would put a model on a single GPU; None: not known."""
        if self.largest_free_bytes is None:
            return None
        return model_bytes <= SINGLE_GPU_SHARE * self.largest_free_bytes


def group(
    readings: Mapping[str, GpuReading],
    gpus: Sequence[str],
    now_s: float,
    own_pids: AbstractSet[int] | None = None,
    own_bytes: int | None = None,
) -> GroupReading:
    """Put the readings of an instance's GPUs (by UUID) together.

    `own_pids`: the instance's processes, when they are known. `own_bytes`: what it says itself that it holds
    (the sum of `size_vram` of /api/ps), which leaves out about half a GB of CUDA context per GPU and loaded model.
    """
    found = [readings[gpu] for gpu in gpus if gpu in readings]
    whole = found if len(found) == len(gpus) else []
    free = _all(reading.memory_free_bytes for reading in whole)
    return GroupReading(
        missing=tuple(gpu for gpu in gpus if gpu not in readings),
        memory_total_bytes=_sum(reading.memory_total_bytes for reading in whole),
        memory_free_bytes=sum(free) if free else None,
        largest_free_bytes=max(free) if free else None,
        foreign_bytes=foreign_bytes(whole, own_pids, own_bytes),
        throttled=frozenset().union(*(reading.throttle or () for reading in found)) & SLOWING,
        failing=tuple(f"{reading.uuid} {why}" for reading in found if (why := failure(reading))),
        age_s=now_s - min(reading.read_at_s for reading in found) if found else None,
    )


def foreign_bytes(
    readings: Sequence[GpuReading], own_pids: AbstractSet[int] | None, own_bytes: int | None
) -> int | None:
    """Return what other programs hold: by process where the list is whole, else what the instance does not claim."""
    used = _sum(reading.memory_used_bytes for reading in readings)
    by_pid = _all(reading.processes for reading in readings)
    if own_pids is not None and by_pid and used is not None:
        listed = sum(sum(processes.values()) for processes in by_pid)
        if used - listed <= HIDDEN_BYTES * len(by_pid):
            return sum(held for processes in by_pid for pid, held in processes.items() if pid not in own_pids)
    return None if used is None or own_bytes is None else max(0, used - own_bytes)


def failure(reading: GpuReading) -> str | None:
    """Say why a GPU is not to be relied on; None when nothing is known against it."""
    if reading.fault is not None:
        return reading.fault
    if reading.ecc_uncorrected:
        return f"has {reading.ecc_uncorrected} uncorrected memory errors since the driver was loaded"
    if reading.xid and reading.xid not in APPLICATION_XIDS:
        return f"reported Xid {reading.xid}"
    return None


def _all(values: Iterable[T | None]) -> list[T]:
    """Return all the values, or none of them when one is missing."""
    found = list(values)
    known = [value for value in found if value is not None]
    return known if len(known) == len(found) else []


def _sum(values: Iterable[int | None]) -> int | None:
    known = _all(values)
    return sum(known) if known else None
