"""One GPU at one moment, whoever read it. `None` always means: no value.

Lives here: the type, its units, the names of clock limits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from operator import attrgetter

CLOCK_LIMITS: Mapping[int, str] = {
    0x001: "gpu_idle",
    0x002: "applications_clocks",
    0x004: "sw_power_cap",
    0x008: "hw_slowdown",
    0x010: "sync_boost",
    0x020: "sw_thermal",
    0x040: "hw_thermal",
    0x080: "hw_power_brake",
    0x100: "display_clocks",
}
"""Bits of nvmlClocksEventReasons (nvml.h), which DCGM's field 112 uses too."""


class SourceError(Exception):
    """A source cannot read its GPUs now; the text says what happened and what to do."""


class SourceHangs(SourceError):
    """A source's last call has not come back; it is not asked again before it does."""


@dataclass(frozen=True, slots=True)
class GpuReading:
    """What one source read of one GPU, or of one MIG device."""

    uuid: str
    """"GPU-..." or "MIG-..."; the key everywhere."""
    name: str | None = None
    index: int | None = None
    """As the source counts: nvidia-smi's for NVIDIA, by PCI bus id for AMD. MIG devices have none."""
    pci_bus_id: str | None = None
    """Domain of four digits, lower case: 0000:3b:00.0."""
    parent_uuid: str | None = None
    """The GPU that a MIG device is a part of. Temperature, power and faults are the parent's."""
    memory_total_bytes: int | None = None
    memory_used_bytes: int | None = None
    """By programs. Includes `memory_reserved_bytes` where the source cannot tell it apart."""
    memory_free_bytes: int | None = None
    memory_reserved_bytes: int | None = None
    """Kept by driver and firmware; nobody's use."""
    utilisation: float | None = None
    """Part of the last sample period (1/6 s to 1 s) in which the GPU did anything, 0 to 1."""
    temperature_c: float | None = None
    power_w: float | None = None
    power_limit_w: float | None = None
    throttle: frozenset[str] | None = None
    """What holds the clocks down, by the names of `CLOCK_LIMITS`."""
    ecc_uncorrected: int | None = None
    """Memory errors since the driver was loaded that ECC could not correct."""
    xid: int | None = None
    """The driver's last error code (Xid); 0: watched, none so far."""
    fault: str | None = None
    """Why the GPU cannot be used at all, in the driver's words."""
    processes: Mapping[int, int] | None = None
    """Memory in bytes by process id. None too when the driver hides one process's share."""
    read_at_s: float = 0.0
    """Monotonic second, on this host, at which the reading was asked for. The last field: see `dated`."""

    def dated(self, read_at_s: float) -> GpuReading:
        """Return the same with another date; `dataclasses.replace` takes four times as long."""
        make: Callable[..., GpuReading] = GpuReading
        return make(*_UNDATED(self), read_at_s)


_UNDATED = attrgetter(*(field.name for field in fields(GpuReading) if field.name != "read_at_s"))


def clock_limits(bits: int) -> frozenset[str]:
    """Return the names of a bit mask of clock limits; bits that have no name are given as hex."""
    unknown = bits & ~sum(CLOCK_LIMITS)
    named = (name for bit, name in CLOCK_LIMITS.items() if bits & bit)
    return frozenset((*named, f"{unknown:#x}") if unknown else named)


def pci_bus_id(text: str) -> str:
    """Return a PCI bus id in the fleet file's form: nvidia-smi's domain has eight digits, lspci's four."""
    domain, _, rest = text.strip().lower().partition(":")
    return f"{domain[-4:]:0>4}:{rest}"
