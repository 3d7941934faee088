"""GPUs of another host through a Prometheus exporter: which metric is which field of a reading.

NVIDIA's dcgm-exporter is known by name; others by an `ExporterNames` of your own.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from spoe_agent.gpus.http import fetch, without_password
from spoe_agent.gpus.reading import GpuReading, SourceError, clock_limits, pci_bus_id

_MIB = 1 << 20
_BARE_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)

INTEGERS = frozenset(
    {"memory_total_bytes", "memory_used_bytes", "memory_free_bytes", "memory_reserved_bytes", "ecc_uncorrected", "xid"}
)
FLOATS = frozenset({"utilisation", "temperature_c", "power_w", "power_limit_w"})
BITS = frozenset({"throttle", "fault"})
FIELDS = INTEGERS | FLOATS | BITS
"""What a metric can stand for: a number, a bit mask of clock limits, or (`fault`) not 0 when the GPU is broken."""


@dataclass(frozen=True, slots=True)
class ExporterNames:
    """An exporter's metric and label names."""

    metrics: Mapping[str, tuple[str, float]]
    """By metric name: the field of a reading, and what one unit of the metric is in the field's unit."""
    uuid: str = "UUID"
    """Label with the GPU's UUID. A bare UUID gets "GPU-" in front, as the driver writes it."""
    index: str = "gpu"
    pci_bus_id: str = "pci_bus_id"
    name: str = "modelName"
    mig_id: str = "GPU_I_ID"
    """Label with the number of the GPU instance; present on MIG devices only."""

    def __post_init__(self) -> None:
        unknown = {what for what, _ in self.metrics.values()} - FIELDS
        if unknown:
            raise ValueError(f"{', '.join(sorted(unknown))}: no such field; there are {', '.join(sorted(FIELDS))}")


DCGM = ExporterNames(
    {
        "DCGM_FI_DEV_FB_TOTAL": ("memory_total_bytes", _MIB),
        "DCGM_FI_DEV_FB_USED": ("memory_used_bytes", _MIB),
        "DCGM_FI_DEV_FB_FREE": ("memory_free_bytes", _MIB),
        "DCGM_FI_DEV_FB_RESERVED": ("memory_reserved_bytes", _MIB),
        "DCGM_FI_DEV_GPU_UTIL": ("utilisation", 0.01),
        "DCGM_FI_DEV_GPU_TEMP": ("temperature_c", 1),
        "DCGM_FI_DEV_POWER_USAGE": ("power_w", 1),
        "DCGM_FI_DEV_ENFORCED_POWER_LIMIT": ("power_limit_w", 1),
        "DCGM_FI_DEV_POWER_MGMT_LIMIT": ("power_limit_w", 1),
        "DCGM_FI_DEV_CLOCK_THROTTLE_REASONS": ("throttle", 1),
        "DCGM_FI_DEV_CLOCKS_EVENT_REASONS": ("throttle", 1),
        "DCGM_FI_DEV_ECC_DBE_VOL_TOTAL": ("ecc_uncorrected", 1),
        "DCGM_FI_DEV_XID_ERRORS": ("xid", 1),
        "DCGM_FI_DEV_ROW_REMAP_FAILURE": ("fault", 1),
    }
)
"""dcgm-exporter (etc/default-counters.csv). Its Xid stays at the last one until the exporter starts anew."""


@dataclass(slots=True)
class _Gathered:
    labels: Mapping[str, str]
    fields: dict[str, float] = field(default_factory=dict)


class ExporterSource:
    """Scrapes one exporter. The session's own timeout must not be below the poller's deadline."""

    def __init__(self, session: aiohttp.ClientSession, url: str, names: ExporterNames = DCGM) -> None:
        self._url = url
        self.name = without_password(url)
        self._session = session
        self._names = names
        self._page: bytes | None = None
        self._readings: tuple[GpuReading, ...] = ()

    async def read(self, now_s: float) -> tuple[GpuReading, ...]:
        """Scrape once. Raises SourceError, also when the page has none of the metrics."""
        page = await fetch(self._session, self._url)
        if page != self._page:  # exporters sample more slowly than we ask (dcgm-exporter every 30 s); parsing is dear
            self._readings = self._parsed(page, now_s)
            self._page = page
        return tuple(reading.dated(now_s) for reading in self._readings)

    def _parsed(self, page: bytes, now_s: float) -> tuple[GpuReading, ...]:
        try:
            readings = parse(page.decode(), self._names, now_s)
        except ValueError as error:
            raise SourceError(f"{self.name} is no Prometheus page: {error}") from error
        if not readings:
            raise SourceError(f"{self.name} has no metric of a GPU, such as {next(iter(self._names.metrics))}")
        return readings


def parse(page: str, names: ExporterNames, now_s: float) -> tuple[GpuReading, ...]:
    """Return the readings on a page in the Prometheus text format. Raises ValueError when it is not one."""
    gathered: dict[str, _Gathered] = {}
    for family in text_string_to_metric_families(_relevant(page, names)):
        for sample in family.samples:
            known = names.metrics.get(sample.name)
            uuid = _uuid(sample, names)
            if known is not None and uuid and math.isfinite(sample.value):
                gpu = gathered.setdefault(uuid, _Gathered(sample.labels))
                gpu.fields[known[0]] = sample.value * known[1]
    return tuple(_reading(uuid, gpu, names, now_s) for uuid, gpu in gathered.items())


def _relevant(page: str, names: ExporterNames) -> str:
    """Keep the samples that matter, before they are parsed: pages of 10,000 lines are common, parsing is slow."""
    wanted = tuple(names.metrics)
    kept = [line for line in page.splitlines() if line.startswith(wanted)]
    if not kept and page and not page.startswith("#") and "{" not in page:
        return page  # not a page of metrics at all: let the parser say so
    return "\n".join(kept) + "\n"


def _uuid(sample: Sample, names: ExporterNames) -> str:
    """Return the UUID of a sample's GPU, or of its MIG device in the form that drivers before 470 gave it."""
    uuid = sample.labels.get(names.uuid, "")
    if _BARE_UUID.fullmatch(uuid):
        uuid = f"GPU-{uuid}"
    part = sample.labels.get(names.mig_id)
    return f"MIG-{uuid}/{part}/0" if uuid and part else uuid


def _reading(uuid: str, gpu: _Gathered, names: ExporterNames, now_s: float) -> GpuReading:
    labels, fields = gpu.labels, gpu.fields
    part = bool(labels.get(names.mig_id))
    index, bus = labels.get(names.index, ""), labels.get(names.pci_bus_id, "")
    return GpuReading(
        uuid=uuid,
        name=labels.get(names.name) or None,
        index=int(index) if index.isdecimal() and not part else None,
        pci_bus_id=pci_bus_id(bus) if bus and not part else None,
        parent_uuid=uuid.removeprefix("MIG-").split("/")[0] if part else None,
        throttle=clock_limits(int(fields["throttle"])) if "throttle" in fields else None,
        fault="cannot remap a faulty row of its memory any more" if fields.get("fault") else None,
        read_at_s=now_s,
        **_numbers(fields),
    )


def _numbers(fields: Mapping[str, float]) -> dict[str, Any]:
    numbers: dict[str, Any] = {name: value for name, value in fields.items() if name in FLOATS}
    numbers |= {name: int(value) for name, value in fields.items() if name in INTEGERS}
    if "memory_total_bytes" not in numbers and {"memory_used_bytes", "memory_free_bytes"} <= numbers.keys():
        # dcgm-exporter leaves the total out by default; used and free do not have the reserved part.
        numbers["memory_total_bytes"] = (
            numbers["memory_used_bytes"] + numbers["memory_free_bytes"] + numbers.get("memory_reserved_bytes", 0)
        )
    return numbers
