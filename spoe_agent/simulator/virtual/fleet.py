"""A simulated fleet, and what its instances can hold and do."""

from __future__ import annotations

from dataclasses import dataclass

from spoe_agent.simulator import InstanceProfile, Model
from spoe_agent.simulator.virtual.faults import PlannedFault


@dataclass(frozen=True, slots=True)
class FleetPlan:
    """A fleet and the models it is asked for, smallest first."""

    name: str
    instances: tuple[InstanceProfile, ...]
    models: tuple[Model, ...]
    fault: PlannedFault | None = None
    """What goes wrong while it runs."""

    def names(self) -> tuple[str, ...]:
        """Names of the instances, in order."""
        return tuple(f"ollama-{number}" for number in range(1, len(self.instances) + 1))

    def capacity(self) -> float:
        """Nominal capacity: solo seconds of work per second with every batch full, one model per instance."""
        return sum(batched_speed(profile) for profile in self.instances)


def batched_speed(profile: InstanceProfile) -> float:
    """Solo seconds per second of one runner at its best batch: b / (1 + k (b - 1))."""
    k = profile.batch_slowdown
    return max(b / (1 + k * (b - 1)) for b in range(1, profile.num_parallel + 1))


def vram_bytes(model: Model, profile: InstanceProfile) -> int:
    """Memory of the model when loaded on such an instance."""
    return model.memory_bytes(min(profile.context_length, model.context_limit), model.slots(profile.num_parallel))


def fits(model: Model, profile: InstanceProfile) -> bool:
    """Tell whether the empty instance holds the whole model in VRAM."""
    return vram_bytes(model, profile) <= profile.vram_bytes


def prefill_s(model: Model, tokens: int, profile: InstanceProfile) -> float:
    """Seconds to evaluate a prompt, alone on the GPU."""
    return tokens * model.size_bytes / profile.gpu.prefill_token_bytes_per_s


def step_s(model: Model, profile: InstanceProfile) -> float:
    """Seconds between two tokens, alone on the GPU."""
    return model.size_bytes / profile.gpu.decode_bytes_per_s + profile.step_overhead_s
