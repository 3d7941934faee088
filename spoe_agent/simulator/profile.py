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
    "h100": GpuSpeed(decode_bytes_per_s=1900 * GB, prefill_token_bytes_per_s=48_000 * GB),  # measured, 1B to 32B
}


@dataclass(frozen=True, slots=True)
class Waits:
    """What a real Ollama waits for beside its disk and its GPU, as measured with v0.33.0-rc2 on H100."""

    unseen_recovery_s: float = 5.0
    """While another runner stays loaded, Ollama asks that one for the free memory, and may see none come back."""
    unseen_share: float = 0.6
    probe_s: tuple[float, float] = (1.0, 2.4)
    """With no runner loaded, a process of its own looks for the GPUs before a load: from and to, evenly."""
    emptied_s: float = 1.0
    """From the stop of the last runner until the next load, when that is asked for at once."""
    ready_poll_s: float = 0.25
    """A runner is asked so often whether it is ready."""


NO_WAITS = Waits(unseen_share=0.0, probe_s=(0.0, 0.0), emptied_s=0.0, ready_poll_s=0.0)
"""Loads take what disk and GPU take."""


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
    load_fixed_s: float = 0.7
    """Spawning llama-server, warming up."""
    load_bytes_per_s: float = 7.5 * GB
    """Of a file in the page cache."""
    cold_bytes_per_s: float = 1.4 * GB
    """Of a file that must come from disk."""
    vram_recovery_s: float = 0.4
    """From killing a runner until its memory is seen free, if it is: sched.go polls every 250 ms."""
    waits: Waits = field(default_factory=Waits)
    seed: int = 0
    """Of all that chance decides."""
    driver_bytes: int = 650_000_000
    """VRAM of a runner beyond what it says of itself, as NVML sees it."""
    fit_fraction: float = 0.8
    """With other models loaded, a new one must fit in this part of the free memory (sched.go, since v0.30)."""
    batch_slowdown: float = 0.15
    """k: a decode step with b sequences takes ``1 + k * (b - 1)`` times the step with one."""
    step_overhead_s: float = 0.0012
    turn_s: float = 0.0011
    """Each step of a runner waits for one of every other that computes, and so long more for each."""
    cpu_bytes_per_s: float = 50.0 * GB
    """Memory bandwidth for the layers that spilled out of VRAM."""

    def loaded_limit(self) -> int:
        """How many models may be loaded at once."""
        return self.max_loaded_models or 3 * self.gpu_count
