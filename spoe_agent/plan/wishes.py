"""What is to be planned: GPUs and the models wanted on them. Plain data."""

from __future__ import annotations

import math
from dataclasses import dataclass

from spoe_agent.routing.memory import Footprint, ModelShape, footprint

USUAL_SLOTS = 4
"""More slots in one copy slow each other down: of four, each decodes at two thirds of its speed (llama.cpp on H100)."""

MARGIN_BYTES = 1 << 30
"""llama-server leaves so much free on each GPU, or puts layers on the CPU (common/common.h, fit_params_target)."""


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU that an instance can be bound to."""

    id: int | str
    """As the fleet file calls it."""
    bytes: int
    vendor: str = ""
    """"amd", "nvidia", or "" where the id does not tell. GPUs of two vendors make no group."""
    may_group: bool = True
    """False for a MIG device: CUDA gives a process one only."""

    @property
    def pool(self) -> tuple[str, int, bool]:
        """GPUs with the same one stand for each other."""
        return self.vendor, self.bytes, self.may_group


@dataclass(frozen=True, slots=True)
class Wish:
    """One model, and how it is to be served."""

    model: str
    """Canonical key."""
    weights: int
    """Bytes on disk."""
    shape: ModelShape | None
    """None: not known, its memory is guessed from its size."""
    context: int
    """Tokens per slot."""
    demand: float = 1.0
    """Requests that run at a time, on average."""
    slots_wanted: int | None = None
    is_one_by_one: bool = False
    """Ollama runs one request of it at a time, whatever the instance's num_parallel."""
    copies_wanted: int = 1
    latency: str = ""
    """For the fleet file; "": that stays as it is."""
    trained: int = 0
    """Tokens it was trained for: Ollama cuts a larger context to that; 0: not known."""

    @property
    def slots(self) -> int:
        """Requests at a time in one copy: as wanted, else as many as the demand has, up to the usual number."""
        if self.is_one_by_one:
            return 1
        return self.slots_wanted or max(1, min(USUAL_SLOTS, math.ceil(self.demand)))

    @property
    def copies(self) -> int:
        """Copies that the demand needs, at least those wanted."""
        return max(self.copies_wanted, math.ceil(self.demand / self.slots))

    def footprint(self, context: int, slots: int, element_bytes: float, gpus: int = 1) -> Footprint:
        """Return what a copy takes on an instance with that context and so many slots."""
        own = 1 if self.is_one_by_one else slots
        tokens = min(context, self.trained or context)
        return footprint(self.weights, tokens, own, element_bytes, self.shape, gpus)
