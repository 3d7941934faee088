"""Rules on GPUs that join several values of the fleet file; as in `checks`."""

from __future__ import annotations

from collections.abc import Iterator

from spoe_agent.fleet.problems import Finding, called
from spoe_agent.fleet.schema import FleetDraft, InstanceDraft
from spoe_agent.fleet.urls import machine

Findings = Iterator[Finding]


def gpu_list(fleet: FleetDraft) -> Findings:
    """Each GPU once in `gpus`."""
    ids = [gpu.id for gpu in fleet.gpus]
    for index, gpu in enumerate(ids):
        if gpu is not None and gpu in ids[:index]:
            yield Finding(("gpus", index, "id"), f"GPU {gpu} is listed twice", "list each GPU once")


def gpus_are_listed(fleet: FleetDraft) -> Findings:
    """Where the file lists GPUs, instances use those."""
    listed = [gpu.id for gpu in fleet.gpus]
    if not listed or None in listed:
        return
    for index, instance in enumerate(fleet.instances):
        for gpu in instance.gpus:
            if gpu not in listed:
                hint = f"use one of {', '.join(map(str, dict.fromkeys(listed)))}, or add it to gpus"
                yield Finding(("instances", index, "gpus"), f"GPU {gpu} is not in gpus", hint)


def gpus_are_not_shared(fleet: FleetDraft) -> Findings:
    """Two instances use one GPU only if both say so: else each plans with memory that the other takes."""
    first: dict[tuple[str, int | str], int] = {}
    for index, instance in enumerate(fleet.instances):
        for position, gpu in enumerate(instance.gpus):
            if gpu in instance.gpus[:position]:
                yield Finding(("instances", index, "gpus"), f"GPU {gpu} is listed twice", "list each GPU once")
                continue
            other = first.setdefault((_gpu_host(instance, gpu), gpu), index)
            if other != index and not (instance.shared and fleet.instances[other].shared):
                yield _shared(fleet, gpu, other, index)


def _gpu_host(instance: InstanceDraft, gpu: int | str) -> str:
    """Indices and PCI bus ids count within a host; UUIDs are unique everywhere."""
    if instance.url is None or (isinstance(gpu, str) and gpu.startswith(("GPU-", "MIG-"))):
        return ""
    return machine(instance.url)


def _shared(fleet: FleetDraft, gpu: int | str, other: int, index: int) -> Finding:
    silent = [n for n in (other, index) if not fleet.instances[n].shared]
    who = " and ".join(called(n, fleet.instances[n].name) for n in silent)
    return Finding(
        ("instances", index, "gpus"),
        f"GPU {gpu} is used by {called(other, fleet.instances[other].name)} too",
        f"use another GPU, or write shared: true on {who}",
        depends=(("defaults", "shared"), *(("instances", n, "shared") for n in silent)),
    )


def cpu_has_no_gpus(fleet: FleetDraft) -> Findings:
    """Who runs on the CPU is bound to no GPU."""
    for index, instance in enumerate(fleet.instances):
        if instance.vram == 0 and instance.gpus:
            hint = "leave gpus out, or write the memory that it may have there"
            message = "0 says that it runs on the CPU, and it has gpus"
            yield Finding(("instances", index, "vram"), message, hint, depends=(("defaults", "vram"),))


def gpu_ages(fleet: FleetDraft) -> Findings:
    """GPU readings come, and are given up, before the last one is too old to count."""
    telemetry = fleet.telemetry
    for signal in ("memory", "throttle", "faults"):
        max_age = getattr(telemetry, signal).max_age
        for key, value in (("interval", telemetry.interval), ("timeout", telemetry.timeout)):
            if value > max_age:
                message = f"{key} {value:g}s is above {signal}.max_age {max_age:g}s: every reading would be too old"
                hint = f"write {key} below {max_age:g}s, or a larger {signal}.max_age"
                yield Finding(("telemetry", key), message, hint, depends=(("telemetry", signal, "max_age"),))


def gpu_sources(fleet: FleetDraft) -> Findings:
    """Sources name instances that exist."""
    names = [instance.name for instance in fleet.instances]
    for index, source in enumerate(fleet.telemetry.sources):
        for position, name in enumerate(source.instances):
            if None not in names and name not in names:
                path = ("telemetry", "sources", index, "instances", position)
                hint = f"instances are {', '.join(map(str, names))}"
                yield Finding(path, f"there is no instance {name}", hint, depends=(("instances",),))


GPU_CHECKS = (gpu_list, gpus_are_listed, gpus_are_not_shared, cpu_has_no_gpus, gpu_ages, gpu_sources)
