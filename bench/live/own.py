"""Ollamas of the user's own behind the fronts of a live run: what they are like, how they are emptied, what they load.

What a simulated run of them needs comes from the fleet file and the first instance's lists, and nothing is measured.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from spoe_agent.fleet import Fleet, Instance
from spoe_agent.instances.http import Remote, unlimited_session
from spoe_agent.instances.ollama import FAILURES, OllamaClient
from spoe_agent.instances.reach import reach
from spoe_agent.instances.shapes import shape_of
from spoe_agent.rig.process import RigError
from spoe_agent.simulator import GPU_SPEEDS, InstanceProfile, Model
from spoe_agent.simulator.virtual.fleet import FleetPlan, fits

WATCH_EVERY_S = 0.05
"""A model that gives way is gone for a quarter of a second before another is there (server/sched.go)."""

TIMEOUT_S = 30.0
"""Ollama takes up to 5 s for each model that goes while others stay, and answers nobody about it before."""

EMPTY_DEADLINE_S = 120.0


@dataclass(frozen=True, slots=True)
class Own:
    """Running Ollamas, all alike enough for one schedule."""

    file: Path
    """Their fleet file."""
    plan: FleetPlan
    names: Sequence[str]
    """Of the instances, as the fleet file has them."""
    remotes: Sequence[Remote]

    @property
    def addresses(self) -> list[str]:
        """Of the instances, host:port."""
        return [one.url.removeprefix("http://") for one in self.remotes]


@dataclass(slots=True)
class Loads:
    """What was loaded while somebody watched."""

    count: int = 0
    _there: dict[str, frozenset[str]] = field(default_factory=dict)

    def see(self, instance: str, loaded: frozenset[str]) -> None:
        """Note what an instance lists now: what it did not list a moment ago is being loaded."""
        self.count += len(loaded - self._there.get(instance, frozenset()))
        self._there[instance] = loaded


async def ask(file: Path, fleet: Fleet, gpu: str) -> Own:
    """Return what is known of a fleet's instances; `gpu` is a key of GPU_SPEEDS.

    Raises:
        RigError: an instance cannot be put behind every front, does not answer, or has no model for all.
    """
    for one in fleet.instances:
        if one.onward is not None or one.vram_bytes is None:
            raise RigError(f"{one.name}: {file} must say its `vram`, and its `url` must be http://HOST:PORT")
    remotes = [reach(one) for one in fleet.instances]
    instances = tuple(_profile(one, gpu) for one in fleet.instances)
    listed = await _models(fleet.instances[0].name, remotes[0])
    models = tuple(model for model in listed if all(fits(model, profile) for profile in instances))
    if not models:
        raise RigError(f"{fleet.instances[0].name} has no model that completes texts and fits every instance")
    return Own(file, FleetPlan(str(file), instances, models), [one.name for one in fleet.instances], remotes)


@asynccontextmanager
async def watched(own: Own) -> AsyncIterator[Loads]:
    """Empty every instance, then count what they load until the end.

    Raises:
        RigError: one does not answer, or keeps a model.
    """
    loads = Loads()
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(unlimited_session())
        clients = [OllamaClient(session, one, TIMEOUT_S) for one in own.remotes]
        await asyncio.gather(*(_empty(name, client) for name, client in zip(own.names, clients, strict=True)))
        tasks = await stack.enter_async_context(asyncio.TaskGroup())
        watching = [tasks.create_task(_watch(n, c, loads)) for n, c in zip(own.names, clients, strict=True)]
        try:
            yield loads
        finally:
            for task in watching:
                task.cancel()
        for name, client in zip(own.names, clients, strict=True):
            await _look(name, client, loads)


async def _watch(name: str, client: OllamaClient, loads: Loads) -> None:
    while True:
        await _look(name, client, loads)
        await asyncio.sleep(WATCH_EVERY_S)


async def _look(name: str, client: OllamaClient, loads: Loads) -> None:
    with suppress(*FAILURES):
        loads.see(name, frozenset(await client.loaded()))


async def _empty(name: str, client: OllamaClient) -> None:
    try:
        async with asyncio.timeout(EMPTY_DEADLINE_S):
            for model in await client.loaded():
                await client.unload(model)
            while await client.loaded():
                await asyncio.sleep(WATCH_EVERY_S)
    except FAILURES as error:
        raise RigError(f"{name} could not be emptied: {error or type(error).__name__}") from error


async def _models(name: str, first: Remote) -> tuple[Model, ...]:
    """Return the models of the first instance that complete texts, smallest first."""
    try:
        async with asyncio.timeout(TIMEOUT_S), unlimited_session() as session:
            async with first.get(session, "/api/tags") as response:
                entries = (await response.json())["models"]
            shown = {}
            for entry in entries:
                async with first.post(session, "/api/show", {"model": entry["name"]}) as response:
                    shown[entry["name"]] = await response.json()
    except (*FAILURES, ValueError, KeyError) as error:
        raise RigError(f"{name} does not list its models: {error or type(error).__name__}") from error
    found = [_model(entry, shown[entry["name"]]) for entry in entries if _completes(shown[entry["name"]])]
    return tuple(sorted(found, key=lambda model: model.size_bytes))


def _completes(shown: Mapping[str, Any]) -> bool:
    return "completion" in shown.get("capabilities", ())


def _model(entry: Mapping[str, Any], shown: Mapping[str, Any]) -> Model:
    shape = shape_of(shown)
    usual = Model(name=entry["name"], size_bytes=entry["size"], blob=entry["digest"])
    return usual if shape is None else replace(usual, kv_bytes_per_token=shape.token_bytes + shape.windowed_bytes)


def _profile(instance: Instance, gpu: str) -> InstanceProfile:
    usual = InstanceProfile()
    return InstanceProfile(
        vram_bytes=instance.vram_bytes or 0,
        gpu=GPU_SPEEDS[gpu],
        num_parallel=instance.num_parallel,
        max_loaded_models=instance.max_loaded_models,
        context_length=instance.ollama.context_length or usual.context_length,
        # Files that were read before are in the page cache, and after the first front all were.
        cold_bytes_per_s=usual.load_bytes_per_s,
    )
