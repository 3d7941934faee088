"""NVIDIA GPUs through NVML: which calls make a reading. Nothing is started before the first reading.

A full reading costs 0.5 to 10 ms per GPU, and any call may block for ever in the driver: never read on the event loop.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from spoe_agent.gpus.nvml_calls import Calls, GpuFault, NoDriver, Nvml, load_binding
from spoe_agent.gpus.nvml_xid import XidWatch
from spoe_agent.gpus.reading import GpuReading, clock_limits, pci_bus_id

# Constants of nvml.h.
_TEMPERATURE_GPU = 0
_ERROR_UNCORRECTED = 1
_VOLATILE_ECC = 0
_MEMORY_V2 = 40 | 2 << 24
"""sizeof(nvmlMemory_v2_t) and the version: tells reserved memory apart from used."""


@dataclass(frozen=True, slots=True)
class _Gpu:
    handle: Any
    identity: GpuReading


class NvmlReader:
    """Reads every NVIDIA GPU and MIG device of this host. `load` gives the binding."""

    name = "nvidia"

    def __init__(self, load: Callable[[], Nvml] = load_binding) -> None:
        self._load = load
        self._calls: Calls | None = None
        self._gpus: tuple[_Gpu, ...] = ()
        self._xids: XidWatch

    @property
    def doing(self) -> str:
        """The NVML call in progress, or the last one."""
        return "loading NVML" if self._calls is None else self._calls.doing

    def read(self, now_s: float) -> tuple[GpuReading, ...]:
        """Read every GPU, and start NVML first if need be. Raises SourceError; the next call starts afresh then."""
        try:
            calls = self._calls or self._start()
            xids = self._xids.poll(calls)
            return tuple(reading for gpu in self._gpus for reading in _readings(calls, gpu, xids, now_s))
        except NoDriver:
            self._stop()
            raise

    def _start(self) -> Calls:
        nvml = self._load()
        self._calls = calls = Calls(nvml)
        calls.must("nvmlInit")
        found = (_identify(calls, index) for index in range(calls.must("nvmlDeviceGetCount")))
        self._gpus = tuple(gpu for gpu in found if gpu is not None)
        self._xids = XidWatch(calls, {gpu.identity.uuid: gpu.handle for gpu in self._gpus})
        return calls

    def _stop(self) -> None:
        calls, self._calls, self._gpus = self._calls, None, ()
        if calls is not None:
            with suppress(NoDriver):  # it is being left because it fails
                calls.must("nvmlShutdown")


def _identify(calls: Calls, index: int) -> _Gpu | None:
    """Return a GPU and what never changes about it; None when it has no UUID to be known by."""
    gpu = f"GPU {index}"
    try:
        handle = calls.ask(gpu, "nvmlDeviceGetHandleByIndex", index)
        uuid = None if handle is None else calls.ask(gpu, "nvmlDeviceGetUUID", handle)
        if uuid is None:
            return None
        pci = calls.ask(uuid, "nvmlDeviceGetPciInfo", handle)
        name = calls.ask(uuid, "nvmlDeviceGetName", handle)
    except GpuFault:
        return None
    bus = None if pci is None else pci_bus_id(_text(pci.busId))
    return _Gpu(handle, GpuReading(uuid=_text(uuid), name=name and _text(name), index=index, pci_bus_id=bus))


def _readings(calls: Calls, gpu: _Gpu, xids: Mapping[str, int], now_s: float) -> Iterator[GpuReading]:
    """Yield a GPU's reading, then those of its MIG devices."""
    known = replace(gpu.identity, xid=xids.get(gpu.identity.uuid), read_at_s=now_s)
    try:
        reading = _read(calls, gpu, known)
        parts = list(_mig_devices(calls, gpu.handle, reading))
    except GpuFault as fault:
        yield replace(known, fault=str(fault))
        return
    yield reading
    yield from parts


def _read(calls: Calls, gpu: _Gpu, known: GpuReading) -> GpuReading:
    def ask(call: str, *arguments: Any) -> Any:
        return calls.ask(known.uuid, call, gpu.handle, *arguments)

    rates = ask("nvmlDeviceGetUtilizationRates")
    limits = ask("nvmlDeviceGetCurrentClocksEventReasons")
    if limits is None:  # its name until driver 535
        limits = ask("nvmlDeviceGetCurrentClocksThrottleReasons")
    return replace(
        known,
        **_memory(calls, known.uuid, gpu.handle),
        utilisation=None if rates is None else rates.gpu / 100,
        temperature_c=ask("nvmlDeviceGetTemperature", _TEMPERATURE_GPU),
        power_w=_thousandths(ask("nvmlDeviceGetPowerUsage")),
        power_limit_w=_thousandths(ask("nvmlDeviceGetEnforcedPowerLimit")),
        throttle=None if limits is None else clock_limits(limits),
        ecc_uncorrected=ask("nvmlDeviceGetTotalEccErrors", _ERROR_UNCORRECTED, _VOLATILE_ECC),
        fault=_remapping(ask("nvmlDeviceGetRemappedRows")),
    )


def _memory(calls: Calls, gpu: str, handle: Any) -> dict[str, Any]:
    """Return the memory fields of a GPU or MIG device."""
    memory = calls.ask(gpu, "nvmlDeviceGetMemoryInfo", handle, _MEMORY_V2)
    if memory is None:  # driver before 510: `used` has the reserved part in it
        memory = calls.ask(gpu, "nvmlDeviceGetMemoryInfo", handle)
    return {
        "memory_total_bytes": getattr(memory, "total", None),
        "memory_used_bytes": getattr(memory, "used", None),
        "memory_free_bytes": getattr(memory, "free", None),
        "memory_reserved_bytes": getattr(memory, "reserved", None),
        "processes": _processes(calls, gpu, handle),
    }


def _processes(calls: Calls, gpu: str, handle: Any) -> dict[int, int] | None:
    """Return bytes by process id. A process with compute and graphics contexts is in both lists, with the same sum."""
    compute = calls.ask(gpu, "nvmlDeviceGetComputeRunningProcesses", handle)
    if compute is None:
        return None
    graphics = calls.ask(gpu, "nvmlDeviceGetGraphicsRunningProcesses", handle) or []
    held: dict[int, int] = {}
    for process in (*compute, *graphics):
        if process.usedGpuMemory is None:  # hidden from us: the list proves nothing
            return None
        held[process.pid] = max(held.get(process.pid, 0), process.usedGpuMemory)
    return held


def _mig_devices(calls: Calls, handle: Any, parent: GpuReading) -> Iterator[GpuReading]:
    """Yield the MIG devices: memory and processes are their own, the rest is the parent's."""
    mode = calls.ask(parent.uuid, "nvmlDeviceGetMigMode", handle)
    if mode is None or not mode[0]:
        return
    for number in range(calls.ask(parent.uuid, "nvmlDeviceGetMaxMigDeviceCount", handle) or 0):
        part = calls.ask(parent.uuid, "nvmlDeviceGetMigDeviceHandleByIndex", handle, number)
        uuid = None if part is None else calls.ask(parent.uuid, "nvmlDeviceGetUUID", part)
        if uuid is not None:
            name = calls.ask(_text(uuid), "nvmlDeviceGetName", part)
            yield replace(
                parent,
                uuid=_text(uuid),
                name=parent.name if name is None else _text(name),
                index=None,
                pci_bus_id=None,
                parent_uuid=parent.uuid,
                utilisation=None,  # NVML has none for a part of a GPU
                **_memory(calls, _text(uuid), part),
            )


def _remapping(rows: Any) -> str | None:
    """Return a fault when the memory has no spare rows left (correctable, uncorrectable, pending, failure)."""
    return "cannot remap a faulty row of its memory any more" if rows is not None and rows[3] else None


def _thousandths(value: int | None) -> float | None:
    return None if value is None else value / 1000


def _text(value: Any) -> str:
    """Some versions of nvidia-ml-py answer bytes, others str."""
    return value.decode() if isinstance(value, bytes) else str(value)
