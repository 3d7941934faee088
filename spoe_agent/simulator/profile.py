"""What one simulated Ollama process runs on, and how it is configured.

Here: hardware speeds, sizes and the OLLAMA_* settings that the scheduler obeys, as plain numbers with their sources.
"""

from __future__ import annotations

from dataclasses import dataclass, field

GB = 1_000_000_000
GIB = 1024**3


@dataclass(frozen=True, slots=True)
class GpuSpeed:
    """Speed of one kind of GPU, fitted to published llama.cpp numbers (Q4_K_M, one sequence).

    A decode step of a model takes ``size / decode_bytes_per_s`` plus a fixed overhead; prefill runs at
    ``prefill_token_bytes_per_s / size`` tokens per second.
    """

    decode_bytes_per_s: float
    prefill_token_bytes_per_s: float


GPU_SPEEDS = {
    "4090": GpuSpeed(decode_bytes_per_s=700 * GB, prefill_token_bytes_per_s=34_000 * GB),
    "a100": GpuSpeed(decode_bytes_per_s=800 * GB, prefill_token_bytes_per_s=29_000 * GB),
    "h100": GpuSpeed(decode_bytes_per_s=1150 * GB, prefill_token_bytes_per_s=40_000 * GB),
}


@dataclass(frozen=True, slots=True)
class InstanceProfile:
    """One Ollama process: its GPU group and its settings. Times in seconds, sizes in bytes.

    The defaults are Ollama's own, except ``context_length``: Ollama derives it from the VRAM (4k, 32k, 256k),
    and every deployment with several instances pins it so that instances agree.
    """

    vram_bytes: int = 24 * GIB
    """Memory of the whole GPU group. Models are packed into the sum; per-GPU fragmentation is not modelled."""
    gpu_count: int = 1
    gpu: GpuSpeed = field(default_factory=lambda: GPU_SPEEDS["4090"])
    num_parallel: int = 1
    """OLLAMA_NUM_PARALLEL."""
    max_loaded_models: int = 0
    """OLLAMA_MAX_LOADED_MODELS, a total per process; 0 means three per GPU (sched.go)."""
    max_queue: int = 512
    """OLLAMA_MAX_QUEUE: requests waiting for a load. Requests for loaded models are not counted."""
    keep_alive_s: float = 300.0
    """OLLAMA_KEEP_ALIVE; ``math.inf`` keeps models forever."""
    context_length: int = 4096
    """OLLAMA_CONTEXT_LENGTH, per slot."""
    load_fixed_s: float = 1.0
    """Spawning llama-server, probing, warming up."""
    load_bytes_per_s: float = 3.0 * GB
    vram_recovery_s: float = 0.75
    """From killing a runner until its memory is seen free: sched.go polls every 250 ms."""
    fit_fraction: float = 0.8
    """With other models loaded, a new one must fit in this part of the free memory (sched.go, since v0.30)."""
    batch_slowdown: float = 0.15
    """k: a decode step with b sequences takes ``1 + k * (b - 1)`` times the step with one."""
    step_overhead_s: float = 0.0012
    cpu_bytes_per_s: float = 50.0 * GB
    """Memory bandwidth for the layers that spilled out of VRAM."""

    def loaded_limit(self) -> int:
        """How many models may be loaded at once."""
        return self.max_loaded_models or 3 * self.gpu_count
