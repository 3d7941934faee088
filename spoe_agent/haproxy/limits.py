"""How many requests an instance should get at a time: what its slots and its GPUs allow now.

    limit = max_connections x slots / (num_parallel x max_loaded_models) x factor, within [floor, max_connections]

`slots` are those of the models that are loaded or loading, and of one more where there is room for it. `factor` is 1,
and less while answers come slower than they used to, memory is short or clocks are held down; it falls at once and
recovers slowly. Pure: time is passed in.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from spoe_agent.routing.snapshot import GpuGroup

DEGRADED = 2.0
"""Slower than usual by less than this is nothing: neighbours in a batch do that."""

THROTTLED = 0.75
SHORT_OF_MEMORY = 0.75
LEAST_FACTOR = 0.25
RECOVERY_PER_S = 0.05

SHORT_PART = 0.03
"""Of the group's memory, free while other programs hold some: the next context will not fit."""

ROOM_BYTES = 1 << 30
"""Less free memory than this is no room for another model."""

_FAST, _SLOW = 0.2, 0.02
_SAMPLES = 20


@dataclass(slots=True)
class Pace:
    """Seconds per byte of streamed answers: lately, against ever. Bytes stand for tokens: a token is one line."""

    fast: float = 0.0
    slow: float = 0.0
    samples: int = 0

    def add(self, seconds_per_byte: float) -> None:
        """Take one answer."""
        value = math.log(max(seconds_per_byte, 1e-9))
        self.samples += 1
        self.fast += max(_FAST, 1 / self.samples) * (value - self.fast)
        # What is slow must not become the usual while it lasts.
        weight = max(_SLOW, 1 / self.samples) / (1.0 if self.slowdown < DEGRADED else 10.0)
        self.slow += weight * (value - self.slow)

    @property
    def slowdown(self) -> float:
        """How many times slower than usual; 1 until there is a usual."""
        return math.exp(self.fast - self.slow) if self.samples >= _SAMPLES else 1.0


@dataclass(frozen=True, slots=True)
class Bounds:
    """What the fleet file says of one instance."""

    ceiling: int
    """Its `max_connections`."""
    whole: int
    """Slots with as many models loaded as it may have."""
    floor: int = 1


@dataclass(frozen=True, slots=True)
class Capacity:
    """What one instance can do now."""

    slots: int
    """Of the models that are loaded or loading."""
    more: int
    """Slots of one more model; 0 when it has as many as it may."""
    slowdown: float = 1.0
    gpus: GpuGroup = field(default_factory=GpuGroup)


@dataclass(slots=True)
class Limit:
    """One instance's limit, followed over time."""

    bounds: Bounds
    factor: float = 1.0
    value: int = 0
    at_s: float = -math.inf

    def follow(self, now: Capacity, at_s: float) -> int:
        """Return the limit as of now."""
        wanted = factor(now)
        elapsed_s = at_s - self.at_s if math.isfinite(self.at_s) else 0.0
        self.factor = min(wanted, self.factor + RECOVERY_PER_S * elapsed_s) if wanted > self.factor else wanted
        self.at_s = at_s
        self.value = limit(self.bounds, now, self.factor)
        return self.value


def limit(bounds: Bounds, now: Capacity, by: float) -> int:
    """Return the limit for a factor."""
    free = now.gpus.free_bytes
    slots = now.slots + (now.more if free is None or free >= ROOM_BYTES else 0)
    wanted = math.ceil(bounds.ceiling * min(1.0, slots / bounds.whole) * by)
    return min(bounds.ceiling, max(1, bounds.floor, wanted))


def factor(now: Capacity) -> float:
    """Return the part of the limit that the instance's speed and memory leave."""
    found = 1.0
    if now.slowdown > DEGRADED:
        found *= DEGRADED / now.slowdown
    if now.gpus.doubt.slow:
        found *= THROTTLED
    if is_short(now.gpus):
        found *= SHORT_OF_MEMORY
    return max(LEAST_FACTOR, found)


def is_short(gpus: GpuGroup) -> bool:
    """Tell whether other programs have left next to no memory."""
    if gpus.free_bytes is None or not gpus.total_bytes or gpus.foreign_bytes is None:
        return False
    return gpus.foreign_bytes > ROOM_BYTES and gpus.free_bytes < SHORT_PART * gpus.total_bytes
