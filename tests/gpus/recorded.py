"""Readings of the recording, as a reader gives them."""

from dataclasses import fields

from spoe_agent.gpus.nvml import NvmlReader
from spoe_agent.gpus.reading import GpuReading
from tests.gpus.replay import ReplayNvml

SECOND = "GPU-00000001-aaaa-4bbb-8ccc-000000000001"

MEMORY = {f"memory_{part}_bytes" for part in ("total", "used", "free", "reserved")}

GONE = None
"""The GPU cannot be known at all without this call."""

CALLS = {
    "nvmlDeviceGetHandleByIndex(1)": GONE,
    "nvmlDeviceGetUUID()": GONE,
    "nvmlDeviceGetPciInfo()": {"pci_bus_id"},
    "nvmlDeviceGetName()": {"name"},
    "nvmlDeviceGetSupportedEventTypes()": {"xid"},
    "nvmlDeviceRegisterEvents(8)": {"xid"},
    "nvmlDeviceGetMemoryInfo(33554472)": MEMORY,
    "nvmlDeviceGetComputeRunningProcesses()": {"processes"},
    "nvmlDeviceGetGraphicsRunningProcesses()": set(),
    "nvmlDeviceGetUtilizationRates()": {"utilisation"},
    "nvmlDeviceGetTemperature(0)": {"temperature_c"},
    "nvmlDeviceGetPowerUsage()": {"power_w"},
    "nvmlDeviceGetEnforcedPowerLimit()": {"power_limit_w"},
    "nvmlDeviceGetCurrentClocksEventReasons()": {"throttle"},
    "nvmlDeviceGetTotalEccErrors(1, 0)": {"ecc_uncorrected"},
    "nvmlDeviceGetRemappedRows()": set(),
    "nvmlDeviceGetMigMode()": set(),
}
"""Every call about one GPU, and the fields that it takes away when it fails."""

HOST_CALLS = {"nvmlEventSetCreate()": {"xid"}, "nvmlEventSetWait_v2(0)": set()}

START = {"nvmlInit()", "nvmlDeviceGetCount()", "nvmlDeviceGetHandleByIndex(0)"}


def read(*arguments, **settings):
    return NvmlReader(lambda: ReplayNvml(*arguments, **settings)).read(5.0)


def changed(before, after):
    """The fields that differ, which must have no value now."""
    names = {each.name for each in fields(GpuReading) if getattr(before, each.name) != getattr(after, each.name)}
    assert all(getattr(after, name) is None for name in names)
    return names
