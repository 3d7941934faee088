"""What a model takes of GPU memory, term by term: the one estimate, for routing and for `pointsman plan`.

How llama.cpp takes it (llama-kv-cache.cpp, llama-kv-cache-iswa.cpp) as Ollama starts it (llm/llama_server.go).
"""

from __future__ import annotations

from dataclasses import dataclass

RUNNER_BYTES = 650_000_000
"""GPU memory of each loaded model beyond what `/api/ps` says: NVML showed 0.63 to 0.70 GB (CUDA's context, buffers)."""

_F16_BYTES = 2.0
_CELLS = 256
"""The cache of layers with a window is rounded up to so many tokens."""


@dataclass(frozen=True, slots=True)
class ModelShape:
    """What a model's metadata says of the memory that each token takes."""

    token_bytes: int
    """Keys and values of one token in f16, of all layers that see the whole context."""
    windowed_bytes: int = 0
    """The same of the layers that see the last `window` tokens only."""
    window: int = 0
    """Tokens; 0: no layer has a window."""
    batch_bytes: int = 0
    """Of each token while a prompt is read: what one layer computes. 0: not known, then it is left out."""


@dataclass(frozen=True, slots=True)
class Footprint:
    """The terms, in bytes."""

    weights: int
    cache: int
    """Keys and values of every slot."""
    buffers: int
    """What is computed at a time."""
    runner: int
    """What `/api/ps` leaves out, on each GPU."""

    @property
    def shown(self) -> int:
        """What `/api/ps` says."""
        return self.weights + self.cache + self.buffers

    @property
    def total(self) -> int:
        """What the GPUs lose."""
        return self.shown + self.runner


def footprint(
    weights: int,
    context: int,
    slots: int,
    element_bytes: float = _F16_BYTES,
    shape: ModelShape | None = None,
    gpus: int = 1,
) -> Footprint:
    """Return what a model of that size on disk takes.

    Args:
        weights: all of the file, though token embeddings stay in main memory (1 to 7 %).
        context: tokens per slot.
        slots: requests at a time.
        element_bytes: one number of the cache: 2 for f16.
        shape: the model's; without it the cache is a prior by size, with the buffers in it.
        gpus: over how many it is spread; each has its own buffers.
    """
    if shape is None:
        return Footprint(weights, int(kv_bytes(weights, context, slots, element_bytes)), 0, RUNNER_BYTES * gpus)
    batch = batch_tokens(context * slots)
    windowed = min(context, _rounded_up(shape.window + batch))
    cache = slots * (context * shape.token_bytes + windowed * shape.windowed_bytes) * element_bytes / _F16_BYTES
    return Footprint(weights, int(cache), batch * shape.batch_bytes * gpus, RUNNER_BYTES * gpus)


def kv_bytes(weights: int, context: int, slots: int, element_bytes: float = _F16_BYTES) -> float:
    """Return a prior for the key-value cache and the buffers that grow with it, for all slots.

    With f16, 42.7 KB a token for weights of 1 GB, 111 KB for 4.7 GB, 430 KB for 42 GB: fitted to what Ollama showed
    (0.33, H100) for 1B to 32B in Q4, Q8 and F16; each model's whole is within 10 % then (test_memory has the table).
    """
    per_token: float = 21_360 * element_bytes * (weights / 1e9) ** 0.62
    return per_token * context * slots


def batch_tokens(tokens: int) -> int:
    """Return how many tokens Ollama has read at a time where all slots have so many (server/sched.go,
    generationBatchForContext); it takes fewer where memory is short.
    """
    return 512 if tokens <= 4096 else 1024 if tokens <= 32768 else 2048


def _rounded_up(tokens: int) -> int:
    return -(-tokens // _CELLS) * _CELLS
