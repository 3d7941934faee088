"""What a plan is made from: the file of wishes, the fleet file, running Ollamas, this machine's GPUs."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import aiohttp

from spoe_agent.fleet import Fleet
from spoe_agent.fleet.specs import CACHE_ELEMENT_BYTES, model_shape
from spoe_agent.fleet.urls import USUAL_PORT
from spoe_agent.gpus.poll import Source
from spoe_agent.gpus.resolve import bindable, bound_by
from spoe_agent.gpus.service import read_once
from spoe_agent.instances.environment import is_amd
from spoe_agent.instances.http import Remote
from spoe_agent.instances.lists import InstalledModel
from spoe_agent.instances.ollama import FAILURES, OllamaClient
from spoe_agent.instances.reach import reach
from spoe_agent.plan.wanted import WantedFile, WantedModel
from spoe_agent.plan.wishes import Gpu, Wish
from spoe_agent.routing.memory import ModelShape
from spoe_agent.routing.names import display, is_cloud

_GPU_DEADLINE_S = 10.0
_ASK_S = 10.0
USUAL = Remote(f"http://127.0.0.1:{USUAL_PORT}", {"Host": "localhost"})


@dataclass(frozen=True, slots=True)
class ModelsFound:
    """What Ollamas said of their models."""

    installed: Mapping[str, InstalledModel] = field(default_factory=dict)
    shapes: Mapping[str, ModelShape] = field(default_factory=dict)
    asked: tuple[str, ...] = ()
    """Who was asked and answered."""


class Unplannable(Exception):
    """There is nothing to plan; the text says why, and what to do."""


async def ask(remotes: Iterable[Remote], wanted: WantedFile) -> ModelsFound:
    """Ask every Ollama for its models, and one of those that have it for each model's shape."""
    async with aiohttp.ClientSession() as session:
        clients = [(remote.url, OllamaClient(session, remote, _ASK_S)) for remote in remotes]
        found = await asyncio.gather(*(_installed(client) for _, client in clients))
        owners = {key: client for (_, client), models in zip(clients, found, strict=True) for key in models or {}}
        needed = {one.model for one in wanted.models if one.shape is None} if wanted.models else set(owners)
        keys = sorted(needed & set(owners))
        shapes = await asyncio.gather(*(_shape(owners[key], key) for key in keys))
    installed = {key: model for models in found for key, model in (models or {}).items()}
    known = {key: shape for key, shape in zip(keys, shapes, strict=True) if shape is not None}
    return ModelsFound(
        installed, known, tuple(url for (url, _), models in zip(clients, found, strict=True) if models is not None)
    )


async def _installed(client: OllamaClient) -> Mapping[str, InstalledModel] | None:
    try:
        return await client.installed()
    except FAILURES:
        return None


async def _shape(client: OllamaClient, key: str) -> ModelShape | None:
    try:
        return await client.shape(display(key))
    except FAILURES:
        return None


def remotes(fleet: Fleet | None) -> list[Remote]:
    """Return whom to ask: the fleet's instances, else the Ollama on the usual port."""
    return [USUAL] if fleet is None else [reach(one) for one in fleet.instances]


def wishes(wanted: WantedFile, known: ModelsFound) -> list[Wish]:
    """Return the models to be planned. Raises Unplannable."""
    models = wanted.models or tuple(WantedModel(model=key) for key in _loadable(known.installed))
    if not models:
        who = f"{', '.join(known.asked)} list none" if known.asked else "no Ollama answers"
        raise Unplannable(f"no model to plan for: {who}; name them in a file (models:), with their size")
    return [_wish(one, wanted, known) for one in models]


def _loadable(installed: Mapping[str, InstalledModel]) -> Iterator[str]:
    """Yield the models that take memory, of copies (`ollama cp`) one: Ollama loads it for all of their names."""
    seen: set[str] = set()
    for key, model in sorted(installed.items()):
        if model.size_bytes and not is_cloud(key) and model.digest not in seen:
            yield key
            seen |= {model.digest} - {""}


def _wish(one: WantedModel, wanted: WantedFile, known: ModelsFound) -> Wish:
    there = known.installed.get(one.model)
    asked, trained = one.context or wanted.context, there.trained_context if there else 0
    size = one.size or (there.size_bytes if there else 0)
    if not size:
        raise Unplannable(
            f"the size of {display(one.model)} is not known: no Ollama that was asked has it; write size:"
        )
    return Wish(
        model=one.model,
        weights=int(size),
        shape=model_shape(one.shape) if one.shape else known.shapes.get(one.model),
        context=min(asked, trained or asked),
        demand=one.demand,
        slots_wanted=one.slots,
        is_one_by_one=there is not None and there.is_one_by_one,
        copies_wanted=one.copies,
        latency=one.latency or "",
        trained=trained,
    )


async def gpus(wanted: WantedFile, fleet: Fleet | None, sources: Sequence[Source]) -> list[Gpu]:
    """Return the GPUs: those described, else the fleet file's, else this machine's. Raises Unplannable."""
    described = [(gpu.id, int(gpu.memory)) for gpu in wanted.gpus]
    if not described and fleet is not None:
        described = [(gpu.id, int(gpu.memory)) for gpu in fleet.gpus if gpu.memory is not None]
    if not described:
        board = await read_once(sources, _GPU_DEADLINE_S)
        sound = [one for one in bindable(board.readings.values()) if one.fault is None]
        described = [(bound_by(one), one.memory_total_bytes) for one in sound if one.memory_total_bytes]
        if not described:
            why = "; ".join(state.why for state in board.states.values() if state.why)
            hint = "describe them in a file: gpus: [{id: 0, memory: 24GiB}]"
            raise Unplannable(f"no GPU to plan for{f' ({why})' if why else ''}: models run on the CPU here; or {hint}")
    return [Gpu(name, size, _vendor(name), not str(name).startswith("MIG-")) for name, size in described]


def _vendor(name: int | str) -> str:
    return "" if isinstance(name, int) or ":" in name else "amd" if is_amd(name) else "nvidia"


def element_bytes(wanted: WantedFile, fleet: Fleet | None) -> float:
    """Return the size of one number of the cache: as wanted, else the largest that an instance has now."""
    if wanted.kv_cache_type is not None or fleet is None:
        return CACHE_ELEMENT_BYTES[wanted.kv_cache_type]
    return max(CACHE_ELEMENT_BYTES[one.ollama.kv_cache_type] for one in fleet.instances)
