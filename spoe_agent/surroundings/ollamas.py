"""Whether Ollamas were started as the fleet file says, and agree with each other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pydantic import TypeAdapter, ValidationError

from spoe_agent.fleet import Instance
from spoe_agent.fleet.units import SecondsOrForever
from spoe_agent.gpus.reading import GpuReading
from spoe_agent.gpus.resolve import UnknownGpu, resolve
from spoe_agent.instances.environment import NONE, UnnamedGpu, environment
from spoe_agent.instances.processes import started
from spoe_agent.routing.names import display
from spoe_agent.surroundings.remark import Remark, note, ok, wrong
from spoe_agent.surroundings.seen import FoundOllama, Seen

_SECONDS: TypeAdapter[float] = TypeAdapter(SecondsOrForever)
_TIMES = ("OLLAMA_KEEP_ALIVE", "OLLAMA_LOAD_TIMEOUT")
_GPUS = ("CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES")
_ELSEWHERE = {"OLLAMA_HOST", "OLLAMA_NUM_PARALLEL", "OLLAMA_MAX_LOADED_MODELS", "OLLAMA_NOPRUNE", "OLLAMA_VULKAN"}
"""Told of by others, or of no consequence: whoever answers listens where the file says."""


def versions(seen: Seen) -> Iterator[Remark]:
    """They are of one version."""
    by_version: dict[str, list[str]] = {}
    for one in seen.ollamas:
        if one.version:
            by_version.setdefault(one.version, []).append(one.instance.name)
    if len(by_version) > 1:
        told = "; ".join(f"{version}: {', '.join(names)}" for version, names in sorted(by_version.items()))
        yield note(
            f"Ollamas differ in version: {told}", "a model may answer otherwise, or not load, on some: update all"
        )


def as_started(seen: Seen) -> Iterator[Remark]:
    """Each process runs with what the fleet file says."""
    for one in seen.ollamas:
        if one.environment is None:
            continue
        try:
            found = list(_differences(one, one.environment, list(seen.board.readings.values())))
        except UnnamedGpu as error:
            yield wrong(str(error))
            continue
        name = one.instance.name
        hint = f"start it anew with what `pointsman render env {name}` says, or write what it has into the file"
        yield from (wrong(f"{name}: {text}", hint) for text in found)
        if not found:
            yield ok(f"{name}: its process was started as the file says")
    yield from _unseen(seen)


def _unseen(seen: Seen) -> Iterator[Remark]:
    """Say what answers here without a process that can be looked into."""
    names = ", ".join(
        one.instance.name for one in seen.ollamas if one.environment is None and one.instance.is_here and one.version
    )
    if names and seen.is_root:
        hint = "a container, or a tunnel to another host? Compare what it was started with there"
        yield note(
            f"no Ollama process of this host is seen at the port of {names}, so its settings are not known", hint
        )
    elif names:
        yield note(f"what runs {names} cannot be seen, nor its settings", "run this as root, or as its user")


def _differences(one: FoundOllama, found: Mapping[str, str], readings: list[GpuReading]) -> Iterator[str]:
    """Yield what is otherwise. Values of the file's `env` may be secrets, and are not told."""
    instance, told = one.instance, started(found, one.version, len(one.instance.gpus))
    for key, runs, wanted in (
        ("num_parallel", told.num_parallel, instance.num_parallel),
        ("max_loaded_models", told.max_loaded_models, instance.max_loaded_models),
    ):
        if runs is not None and runs != wanted:
            yield f"its process was started with {key} {runs}, the file says {wanted}"
    for variable, says in environment(instance).items():
        has = found.get(variable)
        if variable in _ELSEWHERE or _same(instance, variable, has, says, readings):
            continue
        if variable in dict(instance.env):
            yield f"its process has another {variable} than the file says"
        else:
            yield (
                f"its process has {variable}={has}, the file says {says}"
                if has
                else f"its process has no {variable}={says}"
            )


def _same(instance: Instance, variable: str, has: str | None, says: str, readings: list[GpuReading]) -> bool:
    if variable == "OLLAMA_CONTEXT_LENGTH" and instance.ollama.context_length is None:
        return True  # nobody said it
    if has is None:
        # What hides the other vendor's GPUs, and what orders them, matters only where there are some.
        hides = says == NONE and (bool(instance.gpus) or not readings)
        return hides or (variable == "CUDA_DEVICE_ORDER" and len(readings) < 2)
    if variable in _GPUS:
        return _uuids(has, readings) == _uuids(says, readings)
    return _value(variable, has) == _value(variable, says)


def _value(variable: str, text: str) -> object:
    text = text.strip().strip("\"'")
    if variable in _TIMES:
        try:
            return _SECONDS.validate_python(float(text) if text.lstrip("-").isdecimal() else text)
        except ValidationError:
            return text
    return {"true": "1", "false": "0"}.get(text.lower(), text)


def _uuids(text: str, readings: list[GpuReading]) -> set[str]:
    found = set()
    for word in (word.strip() for word in text.split(",")):
        try:
            found.add(resolve(int(word) if word.isdecimal() else word, readings))
        except UnknownGpu:
            found.add(word)
    return found


def contexts(seen: Seen) -> Iterator[Remark]:
    """A model has the same context wherever it is loaded."""
    models: dict[str, dict[str, int]] = {}
    for one in seen.ollamas:
        for model, loaded in one.loaded.items():
            if loaded.context_length:
                models.setdefault(model, {})[one.instance.name] = loaded.context_length
    for model, by_name in sorted(models.items()):
        if len(set(by_name.values())) > 1:
            told = ", ".join(f"{tokens} on {name}" for name, tokens in by_name.items())
            hint = "what a request gets depends on where it goes: write one context_length, and start all with it"
            yield note(f"{display(model)} is loaded with different contexts: {told}", hint)


def stores(seen: Seen) -> Iterator[Remark]:
    """Who starts deletes nothing that another one downloads into the store."""
    shared: dict[str, list[FoundOllama]] = {}
    for one in seen.ollamas:
        shared.setdefault(one.instance.store, []).append(one)
    for together in shared.values():
        for one in together if len(together) > 1 else ():
            says = "1" if one.instance.ollama.noprune else "0"
            has = says if one.environment is None else one.environment.get("OLLAMA_NOPRUNE", "0")
            if _value("", has) in ("0", ""):
                others = ", ".join(other.instance.name for other in together if other is not one)
                text = f"{one.instance.name} shares its store with {others}, and starts without OLLAMA_NOPRUNE=1"
                yield wrong(
                    text, "at its start it deletes what another one is downloading: start it with OLLAMA_NOPRUNE=1"
                )
