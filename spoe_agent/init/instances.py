"""Which instances a machine gets: the Ollamas that run, else one for each GPU, else one on the CPU. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from spoe_agent.fleet import Listen
from spoe_agent.gpus.reading import GpuReading
from spoe_agent.gpus.resolve import UnknownGpu, resolve
from spoe_agent.init.machine import Machine, RunningOllama
from spoe_agent.instances.processes import started

_MIB = 1 << 20

CACHE_TYPES = ("f16", "q8_0", "q4_0")

_VISIBLE = ("CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES")

_ANOTHER_USERS = (
    "Runs already, as another user: what it was started with cannot be seen. Run this as root, or write its",
)
_NOT_OF_THIS_HOST = (
    "Answers, but no Ollama process of this host is seen at its port (a container, a tunnel?), so what it was",
    "started with is not known. Write its",
)


@dataclass(frozen=True, slots=True)
class DraftInstance:
    """One instance of the file."""

    name: str
    listen: Listen
    remarks: tuple[str, ...] = ()
    """What to know of it; comments in the file."""
    gpus: tuple[GpuReading, ...] = ()
    vram_bytes: int | None = None
    """None: the sum over its GPUs, or not known; 0: on the CPU."""
    is_shared: bool = False
    settings: Mapping[str, int] = field(default_factory=dict)
    """`num_parallel`, where it is known."""
    ollama: Mapping[str, int | str] = field(default_factory=dict)
    """Keys of the section `ollama`."""


def entries(machine: Machine, ports: Iterator[int]) -> tuple[DraftInstance, ...]:
    """Return the instances. `ports`: those that are free, for Ollamas that are not there yet."""
    if machine.running:
        return _apart([_running(place, one, machine) for place, one in enumerate(machine.running)])
    sound = [gpu for gpu in machine.gpus if gpu.fault is None]
    if not sound:
        return (DraftInstance("cpu", Listen("127.0.0.1", next(ports)), vram_bytes=0, settings={"num_parallel": 1}),)
    return tuple(
        DraftInstance(f"gpu{place}", Listen("127.0.0.1", next(ports)), gpus=(gpu,)) for place, gpu in enumerate(sound)
    )


def _running(place: int, one: RunningOllama, machine: Machine) -> DraftInstance:
    entry, gpus = DraftInstance(f"ollama{place}", one.listen), machine.gpus
    if one.environment is not None:
        return _started(entry, one, gpus, one.environment)
    remarks = [
        *(_NOT_OF_THIS_HOST if machine.is_root else _ANOTHER_USERS),
        "OLLAMA_NUM_PARALLEL as num_parallel (without it, Ollama runs one request at a time).",
    ]
    if not gpus:
        return replace(entry, remarks=(*remarks, "This machine shows no GPU: vram: 0, on the CPU."), vram_bytes=0)
    if len(machine.running) == 1:
        return replace(entry, remarks=(*remarks, "Taken to have all GPUs."), gpus=gpus)
    return replace(entry, remarks=(*remarks, "Add the GPUs that it is bound to: gpus: [...]"))


def _started(
    entry: DraftInstance, one: RunningOllama, gpus: tuple[GpuReading, ...], environment: Mapping[str, str]
) -> DraftInstance:
    """Return an entry with what the process's environment says."""
    bound, remark = _bound(environment, gpus)
    told = started(environment, one.version, len(bound))
    settings = {} if told.num_parallel is None else {"num_parallel": told.num_parallel}
    return replace(
        entry,
        remarks=("Runs already; described as it was started.", *([remark] if remark else ())),
        gpus=bound,
        vram_bytes=None if bound or remark else 0,
        settings=settings,
        ollama=dict(_ollama(environment)),
    )


def _bound(environment: Mapping[str, str], gpus: tuple[GpuReading, ...]) -> tuple[tuple[GpuReading, ...], str]:
    """Return the GPUs that an environment leaves visible, and what could not be told."""
    said = {name: environment[name] for name in _VISIBLE if environment.get(name, "").strip()}
    if not said:
        return gpus, ""
    words = [word.strip() for text in said.values() for word in text.split(",")]
    found: dict[str, GpuReading] = {}
    for word in words:
        try:
            uuid = resolve(int(word) if word.isdecimal() else word, gpus)
        except UnknownGpu:
            if word != "-1":
                return (), f"Its {', '.join(said)} names no GPU that is here: add gpus: [...] yourself."
        else:
            found |= {gpu.uuid: gpu for gpu in gpus if gpu.uuid == uuid}
    return tuple(found.values()), ""


def _ollama(environment: Mapping[str, str]) -> Iterator[tuple[str, int | str]]:
    for key in ("max_loaded_models", "context_length"):
        text = environment.get(f"OLLAMA_{key.upper()}", "").strip()
        if re.fullmatch(r"[1-9]\d{0,5}", text, re.ASCII):
            yield key, int(text)
    if environment.get("OLLAMA_KV_CACHE_TYPE") in CACHE_TYPES:
        yield "kv_cache_type", environment["OLLAMA_KV_CACHE_TYPE"]
    if re.fullmatch(r"/[^\x00-\x1f\x7f]*", environment.get("OLLAMA_MODELS", "")):
        yield "models", environment["OLLAMA_MODELS"]


def _apart(found: Sequence[DraftInstance]) -> tuple[DraftInstance, ...]:
    """Give instances that have a GPU in common each an equal part of what each of its GPUs has."""
    holders = {gpu.uuid: sum(gpu in one.gpus for one in found) for one in found for gpu in one.gpus}
    return tuple(
        replace(
            one,
            is_shared=True,
            vram_bytes=sum((gpu.memory_total_bytes or 0) // holders[gpu.uuid] for gpu in one.gpus) or None,
            remarks=(*one.remarks, "Another Ollama has one of these GPUs too: vram is its part of the memory."),
        )
        if any(holders[gpu.uuid] > 1 for gpu in one.gpus)
        else one
        for one in found
    )


def mib(size: int) -> str:
    """Write bytes as the fleet file has them, rounded down."""
    return f"{size // _MIB}MiB" if size else "0"
