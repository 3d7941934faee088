"""Whether the fleet file and the hosts agree on GPUs: whom it names and nobody reads, who is there and is not named."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from urllib.parse import urlsplit

from spoe_agent.fleet import Fleet, Instance
from spoe_agent.fleet.schema_watch import GpuSource
from spoe_agent.gpus.board import GpuBoard, SourceHealth
from spoe_agent.gpus.reading import GpuReading
from spoe_agent.gpus.resolve import UnknownGpu, resolve


def reads(entry: GpuSource, instance: Instance) -> bool:
    """Tell whether a source of the fleet file reads the GPUs of an instance."""
    return instance.name in entry.instances if entry.instances else urlsplit(entry.url).hostname == instance.host


def disagreements(fleet: Fleet, here: GpuBoard) -> list[str]:
    """Return where the fleet file and this host's GPUs do not go together, a sentence each.

    `here`: this host's sources. Those that have not answered yet, one way or the other, are waited for.
    """
    found = _without_source(fleet)
    if all(state.state is not SourceHealth.UNKNOWN for state in here.states.values()):
        found += _not_here(_named_here(fleet), here)
    return [*found, *_unnamed(fleet, here.readings)]


def _without_source(fleet: Fleet) -> list[str]:
    """Where the file leaves out the one source that could read them."""
    hint = "add `pointsman telemetry` of that host to telemetry.sources"
    alone = [
        one for one in fleet.instances if one.gpus and not any(reads(entry, one) for entry in fleet.telemetry.sources)
    ]
    found = [f"nobody reads {_gpus(one)} of {one.name} on {one.host}: {hint}" for one in alone if not one.is_here]
    if not fleet.telemetry.local:
        why = "telemetry.local is false"
        found += [f"nobody reads {_gpus(one)} of {one.name}: {why}" for one in alone if one.is_here]
    return found


def _named_here(fleet: Fleet) -> list[Instance]:
    """Return the instances whose GPUs this host's own sources read."""
    if not fleet.telemetry.local:
        return []
    sources = fleet.telemetry.sources
    return [
        one for one in fleet.instances if one.gpus and one.is_here and not any(reads(entry, one) for entry in sources)
    ]


def _not_here(named: list[Instance], here: GpuBoard) -> list[str]:
    if not named:
        return []
    if not here.readings:
        who = ", ".join(f"{_gpus(one)} of {one.name}" for one in named)
        why = "; ".join(f"{name}: {state.why}" for name, state in here.states.items() if state.why)
        return [f"nobody reads {who}: no GPU of this host answers ({why or 'no answer yet'})"]
    found = []
    for instance in named:
        for gpu in instance.gpus:
            try:
                resolve(gpu, here.readings.values())
            except UnknownGpu as error:
                found.append(f"{instance.name}: {error}")
    return found


def _unnamed(fleet: Fleet, readings: Mapping[str, GpuReading]) -> list[str]:
    """Return the GPUs of this host that no instance on it names: a sentence each, one where none is named at all.

    Only where some Ollama runs here: else this host's GPUs are somebody else's.
    """
    local = [one for one in fleet.instances if one.is_here]
    if not local or not fleet.telemetry.local:
        return []
    named = _uuids((gpu for one in local for gpu in one.gpus), readings.values())
    parents = {reading.parent_uuid for reading in readings.values()}
    spare = [
        one
        for one in readings.values()
        if one.uuid not in named and one.parent_uuid not in named and one.uuid not in parents
    ]
    if spare and not any(one.gpus for one in local):
        who = ", ".join(_called(one) for one in spare)
        return [f"the GPUs of this host are not read, because no instance names them (gpus): {who}"]
    return [f"{_called(one)} is on this host, and no instance names it (gpus)" for one in spare]


def _uuids(gpus: Iterable[int | str], readings: Iterable[GpuReading]) -> set[str]:
    there, found = list(readings), set()
    for gpu in gpus:
        try:
            found.add(resolve(gpu, there))
        except UnknownGpu:  # `_not_here` tells of it
            continue
    return found


def _gpus(instance: Instance) -> str:
    return f"GPU {', '.join(map(str, instance.gpus))}"


def _called(reading: GpuReading) -> str:
    index = "" if reading.index is None else f"GPU {reading.index} = "
    return f"{index}{reading.uuid}" + (f" ({reading.name})" if reading.name else "")
