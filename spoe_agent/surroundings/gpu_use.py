"""Whether GPUs are free for the instances that are bound to them, and whole."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping

from spoe_agent.gpus.group import group
from spoe_agent.gpus.inventory import disagreements
from spoe_agent.gpus.orphans import is_ollamas, left_over, look, orphans
from spoe_agent.gpus.reading import GpuReading
from spoe_agent.gpus.resolve import UnknownGpu, resolve
from spoe_agent.routing.memory import RUNNER_BYTES
from spoe_agent.surroundings.remark import Remark, note, ok, wrong
from spoe_agent.surroundings.seen import FoundOllama, Seen

GIB = 1 << 30

FOREIGN_BYTES = GIB
"""Less than so much is a desktop, or what is left of an estimate."""


def named(seen: Seen) -> Iterator[Remark]:
    """File and host agree on which GPUs there are."""
    yield from map(note, disagreements(seen.fleet, seen.board))


def free(seen: Seen) -> Iterator[Remark]:
    """No other program has much of their memory, and no GPU reports errors."""
    readings = seen.board.readings
    for gpus, ollamas in _groups(seen).items():
        own = sum(model.vram_bytes + RUNNER_BYTES * len(gpus) for one in ollamas for model in one.loaded.values())
        found = group(readings, gpus, time.monotonic(), own)
        who = ", ".join(one.instance.name for one in ollamas)
        yield from (wrong(f"{who}: {text}", "reset it, or take it out of the file") for text in found.failing)
        if (found.foreign_bytes or 0) > FOREIGN_BYTES:
            programs = ", ".join(_foreign([readings[gpu] for gpu in gpus if gpu in readings])) or "other programs"
            text = f"{who}: {programs} have {(found.foreign_bytes or 0) / GIB:.1f} GiB of its GPUs"
            yield note(text, "models that would fit there are unloaded for each other: end them, or write less vram")
        elif not found.failing and found.foreign_bytes is not None:
            yield ok(f"{who}: its GPUs are free for it")
    here = [reading for gpus in _groups(seen) for gpu in gpus if (reading := readings.get(gpu))]
    yield from map(wrong, left_over(orphans(here)))


def _groups(seen: Seen) -> Mapping[tuple[str, ...], list[FoundOllama]]:
    """Return the instances of this host that answer, by the GPUs that they are bound to."""
    found: dict[tuple[str, ...], list[FoundOllama]] = {}
    for one in seen.ollamas:
        if one.version and one.instance.is_here and one.instance.gpus:
            try:
                gpus = tuple(sorted(resolve(gpu, seen.board.readings.values()) for gpu in one.instance.gpus))
            except UnknownGpu:  # `named` tells of it
                continue
            found.setdefault(gpus, []).append(one)
    return found


def _foreign(readings: list[GpuReading]) -> list[str]:
    """Return the programs on these GPUs that are no Ollama's, by how much they hold."""
    held: dict[int, int] = {}
    for reading in readings:
        for pid, size in (reading.processes or {}).items():
            held[pid] = held.get(pid, 0) + size
    found = []
    for pid, size in sorted(held.items(), key=lambda item: -item[1]):
        about = look(pid)
        words = about[0] if about else []
        if not is_ollamas(words):
            name = words[0].rpartition("/")[2] if words else "unknown"
            found.append(f"process {pid} ({name}, {size / GIB:.1f} GiB)")
    return found


def mig(seen: Seen) -> Iterator[Remark]:
    """A GPU that is divided is named by its parts, one for each instance."""
    readings = seen.board.readings.values()
    divided = {reading.parent_uuid for reading in readings if reading.parent_uuid}
    for one in seen.fleet.instances:
        if not one.is_here:
            continue
        parts = [gpu for gpu in one.gpus if str(gpu).startswith("MIG-")]
        if len(parts) > 1:
            yield wrong(f"{one.name} is bound to {len(parts)} MIG devices", "CUDA gives a process one only: name one")
        for gpu in one.gpus:
            try:
                is_divided = resolve(gpu, readings) in divided
            except UnknownGpu:
                continue
            if is_divided:
                names = ", ".join(reading.uuid for reading in readings if reading.parent_uuid)
                yield wrong(f"{one.name}: GPU {gpu} is divided into MIG devices", f"name one of them instead: {names}")
