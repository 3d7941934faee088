"""Where a model's memory goes and what that does to its speed. Pure functions of profile and model."""

from __future__ import annotations

from dataclasses import dataclass

from spoe_agent.simulator.catalog import Model
from spoe_agent.simulator.profile import InstanceProfile


@dataclass(frozen=True, slots=True)
class RunnerMemory:
    """Memory of a runner; what is not in VRAM has spilled to the CPU."""

    total_bytes: int
    vram_bytes: int


@dataclass(frozen=True, slots=True)
class Speed:
    """Speed of a runner that has the GPU to itself."""

    step_s: float
    gpu_step_s: float
    """The part of a step in which the GPU is busy: what spilled is computed elsewhere."""
    prefill_tokens_per_s: float
    batch_slowdown: float


def place(
    needed_bytes: int, seen_bytes: int | None, free_bytes: int, profile: InstanceProfile, spill: float = 0.0
) -> RunnerMemory | None:
    """Decide whether a model may load now; None means another one must go first.

    The first model is always tried, with layers on the CPU if need be; beside others it must fit in
    ``fit_fraction`` of the memory that Ollama takes for free, ``seen_bytes``; None: there are no others
    (sched.go:547-561, 972-1031). What is not free, ``free_bytes``, spills. ``spill`` forces that part out of VRAM.
    """
    wanted_bytes = int(needed_bytes * (1.0 - spill))
    if seen_bytes is not None and wanted_bytes > profile.fit_fraction * seen_bytes:
        return None
    return RunnerMemory(total_bytes=needed_bytes, vram_bytes=min(wanted_bytes, max(0, free_bytes)))


def pace(profile: InstanceProfile, model: Model, footprint: RunnerMemory) -> Speed:
    """Speed of ``model`` with its memory placed so: both phases slow down by what runs at CPU bandwidth."""
    on_gpu = footprint.vram_bytes / footprint.total_bytes
    slowdown = on_gpu + (1.0 - on_gpu) * profile.gpu.decode_bytes_per_s / profile.cpu_bytes_per_s
    return Speed(
        gpu_step_s=on_gpu * model.size_bytes / profile.gpu.decode_bytes_per_s + profile.step_overhead_s,
        step_s=model.size_bytes * slowdown / profile.gpu.decode_bytes_per_s + profile.step_overhead_s,
        prefill_tokens_per_s=profile.gpu.prefill_token_bytes_per_s / model.size_bytes / slowdown,
        batch_slowdown=profile.batch_slowdown,
    )
