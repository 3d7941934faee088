"""From how people name a GPU (index, UUID, PCI bus id) to its UUID, and to what binds an Ollama to it. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from spoe_agent.gpus.reading import GpuReading


class UnknownGpu(Exception):
    """No GPU, or more than one, goes by that name; the text lists those that are there."""


def resolve(gpu: int | str, readings: Iterable[GpuReading]) -> str:
    """Return the UUID of a GPU of one host. Raises UnknownGpu.

    An index is nvidia-smi's: in order of PCI bus ids, which CUDA's own order need not be (CUDA_DEVICE_ORDER). The
    beginning of a UUID will do when it fits one GPU only, as in CUDA_VISIBLE_DEVICES.
    """
    there = list(readings)
    found = {reading.uuid for reading in there if gpu in (reading.index, reading.uuid, reading.pci_bus_id)}
    if not found and isinstance(gpu, str) and gpu.startswith(("GPU-", "MIG-")):
        found = {reading.uuid for reading in there if reading.uuid.startswith(gpu)}
    if len(found) == 1:
        return found.pop()
    listed = "; ".join(_described(reading) for reading in there) or "none"
    wrong = f"GPU {gpu} stands for {len(found)} GPUs" if found else f"there is no GPU {gpu}"
    raise UnknownGpu(f"{wrong}; GPUs that answer: {listed}")


def bindable(readings: Iterable[GpuReading]) -> list[GpuReading]:
    """Return what an Ollama can be bound to: MIG devices instead of the GPU that they are parts of."""
    there = list(readings)
    whole = {reading.parent_uuid for reading in there}
    return [reading for reading in there if reading.uuid not in whole]


def bound_by(reading: GpuReading) -> int | str:
    """Return what binds an Ollama to a GPU: its UUID, or its index where it has none (old cards of AMD's)."""
    has_uuid = reading.uuid.startswith(("GPU-", "MIG-"))
    return reading.uuid if has_uuid or reading.index is None else reading.index


def _described(reading: GpuReading) -> str:
    index = "" if reading.index is None else f"{reading.index} = "
    bus = "" if reading.pci_bus_id is None else f" at {reading.pci_bus_id}"
    return f"{index}{reading.uuid}{bus}"
