"""Instances with their GPUs named by UUID, which is what CUDA and ROCm know them by for good."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

from spoe_agent.fleet import Instance
from spoe_agent.gpus.local import local_sources
from spoe_agent.gpus.reading import GpuReading
from spoe_agent.gpus.resolve import UnknownGpu, resolve
from spoe_agent.gpus.service import read_once

DEADLINE_S = 5.0


def by_uuid(instances: Iterable[Instance], readings: Iterable[GpuReading]) -> list[Instance]:
    """Return instances with the UUIDs of those of their GPUs that are among the readings; others stay as they are."""
    there = list(readings)
    return [one.model_copy(update={"gpus": tuple(_uuid(gpu, there) for gpu in one.gpus)}) for one in instances]


def _uuid(gpu: int | str, there: Sequence[GpuReading]) -> int | str:
    try:
        return resolve(gpu, there)
    except UnknownGpu:
        return gpu


def read_here() -> list[GpuReading]:
    """Return this host's GPUs; none where nobody answers."""
    return list(asyncio.run(read_once(local_sources(), DEADLINE_S)).readings.values())
