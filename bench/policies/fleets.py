"""The fleets that policies are compared on: instances, catalogues, and what their names for load and regime mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from spoe_agent.simulator import DEFAULT_MODELS, GPU_SPEEDS, InstanceProfile, Model
from spoe_agent.simulator.profile import GB, GIB
from spoe_agent.simulator.virtual.faults import PlannedFault, Trouble
from spoe_agent.simulator.virtual.fleet import FleetPlan, batched_speed, vram_bytes

NUM_PARALLEL = 4
VRAM_BOUND = 99
"""OLLAMA_MAX_LOADED_MODELS so high that only memory limits."""


def _model(name: str, gigabytes: float, layers: int, kv: int) -> Model:
    """`kv` is kv_heads x head_dim, of which f16 K and V take four bytes each."""
    return Model(name=name, size_bytes=round(gigabytes * GB), kv_bytes_per_token=4 * layers * kv, layers=layers)


_MODELS = {
    model.name: model
    for model in (
        *DEFAULT_MODELS,
        _model("gemma2:9b", 5.5, 42, 8 * 256),
        _model("qwen2.5:14b", 9.0, 48, 8 * 128),
    )
}
EMBEDDER = _MODELS["nomic-embed-text:latest"]


def regime(fleet: FleetPlan, models: Sequence[Model], hot_share: float, hot_load: float) -> str:
    """Return how the models in use fit the fleet: the label without which no figure means anything.

    Args:
        models: those that are asked for.
        hot_share: part of the work that the busiest model makes.
        hot_load: solo seconds per second of that model.
    """
    if all(_holds_all(profile, models) for profile in fleet.instances):
        return "R0"
    if hot_share >= 0.45 and hot_load > max(batched_speed(profile) for profile in fleet.instances):
        return "RX"
    slots = sum(profile.loaded_limit() for profile in fleet.instances)
    filled = sum(vram_bytes(model, fleet.instances[0]) for model in models) / sum(p.vram_bytes for p in fleet.instances)
    if slots < len(models) or filled > 0.9:
        return "R2"
    return "R1" if filled <= 0.7 and slots >= 1.2 * len(models) else "R1t"


def _holds_all(profile: InstanceProfile, models: Sequence[Model]) -> bool:
    room = sum(vram_bytes(model, profile) for model in models) <= profile.vram_bytes
    return room and len(models) <= profile.loaded_limit()


def _instance(gpu: str, gibibytes: int, max_loaded: int = 3) -> InstanceProfile:
    return InstanceProfile(
        vram_bytes=gibibytes * GIB,
        gpu=GPU_SPEEDS[gpu],
        num_parallel=NUM_PARALLEL,
        max_loaded_models=max_loaded,
        context_length=4096,
    )


def _plan(
    name: str, instances: Sequence[InstanceProfile], models: Sequence[str | Model], fault: PlannedFault | None = None
) -> FleetPlan:
    found = (_MODELS[model] if isinstance(model, str) else model for model in models)
    by_size = sorted(found, key=lambda model: model.size_bytes)
    return FleetPlan(name, tuple(instances), tuple(by_size), fault)


_FEW = ("phi4-mini:3.8b", "llama3.1:8b", "phi4:14b")
_SIX = ("phi4-mini:3.8b", "mistral:7b", "llama3.1:8b", "gemma2:9b", "gemma3:12b", "phi4:14b")
_EIGHT = (
    "phi4-mini:3.8b",
    "mistral:7b",
    "llama3.1:8b",
    "gemma2:9b",
    "phi4:14b",
    "gemma2:27b",
    "qwq:32b",
    "llama3.3:70b",
)
_TEN = (
    "phi4-mini:3.8b",
    "mistral:7b",
    "deepseek-r1:7b",
    "llama3.1:8b",
    "gemma2:9b",
    "gemma3:12b",
    "qwen2.5:14b",
    "phi4:14b",
    "gemma2:27b",
    "qwq:32b",
)

_FORTY = tuple(
    replace(_MODELS[name], name=f"{name}-tune{number}", blob="")
    for number in range(8)
    for name in ("llama3.2:3b", "phi4-mini:3.8b", "mistral:7b", "llama3.1:8b", "gemma3:12b")
)
"""Tunes of five models, each with weights of its own."""

_F4 = _instance("a100", 48)

FLEETS = {
    plan.name: plan
    for plan in (
        _plan("F2-few", [_instance("a100", 80)] * 2, _FEW),
        _plan("F2", [_instance("a100", 80)] * 2, _TEN),
        _plan("F2-vram", [_instance("a100", 80, VRAM_BOUND)] * 2, _TEN),
        _plan("F4", [_F4] * 4, _TEN),
        _plan("F4-k.05", [replace(_F4, batch_slowdown=0.05)] * 4, _TEN),
        _plan("F4-k.5", [replace(_F4, batch_slowdown=0.5)] * 4, _TEN),
        _plan("F4-b.7", [replace(_F4, load_bytes_per_s=0.7 * GB)] * 4, _TEN),
        _plan("F4-b7", [replace(_F4, load_bytes_per_s=7 * GB)] * 4, _TEN),
        _plan("F4-np1", [replace(_F4, num_parallel=1)] * 4, _TEN),
        _plan("F4-hang", [_F4] * 4, _TEN, PlannedFault(Trouble.HANG, lasts_s=300.0)),
        _plan("F4-kill", [_F4] * 4, _TEN, PlannedFault(Trouble.GONE, lasts_s=120.0)),
        _plan("F4-restart", [_F4] * 4, _TEN, PlannedFault(Trouble.GONE, lasts_s=3.0)),
        _plan("F4-slow", [_F4] * 4, _TEN, PlannedFault(Trouble.SLOW, lasts_s=900.0)),
        _plan("F4-vram", [_instance("a100", 48, VRAM_BOUND)] * 4, _TEN),
        _plan("F4-h100", [_instance("h100", 80)] * 4, _EIGHT),
        _plan("F4h", [_instance("a100", 80)] * 2 + [_instance("4090", 24)] * 2, _EIGHT),
        _plan("F8", [_instance("4090", 24)] * 8, _SIX),
        _plan("F16", [_instance("4090", 24)] * 16, _FORTY),
    )
}
"""By name. Of F4 there are variants, each with one assumption changed: how much a batch slows down (k), GB/s of loading
(b), one slot per model (np1, Ollama's own default); and four in which the first instance is struck every 20 minutes: it
answers no prompts for five minutes and is then replaced, is killed and gone for two minutes, is killed and back after
3 s, loads five times slower for 15 minutes."""
