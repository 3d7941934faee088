"""An instance's GPUs together: what a decision may ask of them.

Pure: readings and times are arguments.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from spoe_agent.gpus.reading import GpuReading

SLOWING = frozenset({"sw_power_cap", "hw_slowdown", "sw_thermal", "hw_thermal", "hw_power_brake"})
"""Clock limits that make a busy GPU slower than it could be: power and heat. The others are idleness or settings."""

APPLICATION_XIDS = frozenset({13, 31, 43, 45, 68, 109})
"""Xids that a faulty program causes on a sound GPU (NVIDIA's Xid guide; k8s-device-plugin ignores the same)."""


@dataclass(frozen=True, slots=True)
class GroupReading:
    """The GPUs of one instance. Sums are None unless every GPU has the value."""

    missing: tuple[str, ...] = ()
    """UUIDs of which there is no reading at all."""
    memory_total_bytes: int | None = None
    memory_free_bytes: int | None = None
    foreign_bytes: int | None = None
    """Memory that other programs hold on these GPUs."""
    throttled: frozenset[str] = frozenset()
    """What slows any of them down, out of `SLOWING`."""
    failing: tuple[str, ...] = ()
    """One sentence per GPU that is broken or reports errors of its own."""
    age_s: float | None = None
    """Of the oldest reading; None when there is none."""


def group(
    readings: Mapping[str, GpuReading],
    gpus: Sequence[str],
    now_s: float,
    own_bytes: int | None = None,
) -> GroupReading:
    """Put the readings of an instance's GPUs (by UUID) together.

    `own_bytes`: what the instance says itself that it holds (the sum of `size_vram` of /api/ps), with what that leaves
    out: about half a GB of CUDA context per GPU and loaded model.
    """
    found = [readings[gpu] for gpu in gpus if gpu in readings]
    whole = found if len(found) == len(gpus) else []
    used = _sum(reading.memory_used_bytes for reading in whole)
    return GroupReading(
        missing=tuple(gpu for gpu in gpus if gpu not in readings),
        memory_total_bytes=_sum(reading.memory_total_bytes for reading in whole),
        memory_free_bytes=_sum(reading.memory_free_bytes for reading in whole),
        foreign_bytes=None if used is None or own_bytes is None else max(0, used - own_bytes),
        throttled=frozenset().union(*(reading.throttle or () for reading in found)) & SLOWING,
        failing=tuple(f"{reading.uuid} {why}" for reading in found if (why := failure(reading))),
        age_s=now_s - min(reading.read_at_s for reading in found) if found else None,
    )


def failure(reading: GpuReading) -> str | None:
    """Say why a GPU is not to be relied on; None when nothing is known against it."""
    if reading.fault is not None:
        return reading.fault
    if reading.ecc_uncorrected:
        return f"has {reading.ecc_uncorrected} uncorrected memory errors since the driver was loaded"
    if reading.xid and reading.xid not in APPLICATION_XIDS:
        return f"reported Xid {reading.xid}"
    return None


def _sum(values: Iterable[int | None]) -> int | None:
    """Return the sum, or None when there is no value, or one is missing."""
    found = list(values)
    known = [value for value in found if value is not None]
    return sum(known) if known and len(known) == len(found) else None
