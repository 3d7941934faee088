"""The environment that an instance is to be started with, so that it is what the fleet file says. Pure.

Knows vendors by the form of their UUIDs. Nothing here starts anything.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from spoe_agent.fleet import Instance, Listen, OllamaSettings
from spoe_agent.fleet.units import duration

_AMD = re.compile(r"GPU-[0-9a-f]{16}", re.IGNORECASE)
"""A UUID of AMD's; NVIDIA's have dashes inside, or are a beginning of one."""

NONE = "-1"
"""A number that no GPU has."""


class UnnamedGpu(Exception):
    """A GPU is named in a way in which neither CUDA nor ROCm find it; the text says what to write."""


def environment(instance: Instance) -> dict[str, str]:
    """Return the variables, as `ollama serve` and the drivers read them.

    What the file leaves to Ollama is left out, but for the context, which would depend on the GPUs' memory. So is the
    address of an instance behind a proxy: the file has the proxy's. Raises UnnamedGpu.
    """
    return {
        **({} if instance.onward else {"OLLAMA_HOST": str(Listen(instance.host, instance.port))}),
        **dict(_gpus(instance)),
        "OLLAMA_NUM_PARALLEL": str(instance.num_parallel),
        "OLLAMA_MAX_LOADED_MODELS": str(instance.max_loaded_models),
        "OLLAMA_CONTEXT_LENGTH": str(instance.context_length),
        **{name: value for name, value in _settings(instance.ollama) if value is not None},
        **dict(instance.env),
    }


def _gpus(instance: Instance) -> Iterator[tuple[str, str]]:
    """Yield what binds an instance to its GPUs. Without `gpus` it takes all, unless it is to run on the CPU.

    1. UUIDs say whose they are: the other vendor's GPUs are hidden.
    2. Numbers do not. They hold for both, in the order of PCI bus ids, which nvidia-smi has, and CUDA only if asked.
    """
    if not instance.gpus and instance.vram_bytes != 0:
        return
    for gpu in instance.gpus:
        if isinstance(gpu, str) and not gpu.startswith(("GPU-", "MIG-")):
            what = f"GPU {gpu} of {instance.name}: CUDA and ROCm know no PCI bus ids"
            raise UnnamedGpu(f"{what}; write its UUID, which `pointsman telemetry --once` prints, or its index")
    numbers = [str(gpu) for gpu in instance.gpus if isinstance(gpu, int)]
    named = [gpu for gpu in instance.gpus if isinstance(gpu, str)]
    amd = [gpu for gpu in named if is_amd(gpu)]
    nvidia = [gpu for gpu in named if gpu not in amd]
    if numbers:
        yield "CUDA_DEVICE_ORDER", "PCI_BUS_ID"
    yield "CUDA_VISIBLE_DEVICES", ",".join(nvidia + numbers) or NONE
    yield "ROCR_VISIBLE_DEVICES", ",".join(amd + numbers) or NONE
    # Through Vulkan an Ollama would find those that are hidden from CUDA and ROCm.
    yield "OLLAMA_VULKAN", "0"


def is_amd(uuid: str) -> bool:
    """Tell whether a UUID is of the form that AMD's have."""
    return _AMD.fullmatch(uuid) is not None


def _settings(ollama: OllamaSettings) -> Iterator[tuple[str, str | None]]:
    """Yield the section `ollama`; None: left to Ollama."""
    yield "OLLAMA_KEEP_ALIVE", _duration(ollama.keep_alive)
    yield "OLLAMA_MAX_QUEUE", _text(ollama.max_queue)
    yield "OLLAMA_LOAD_TIMEOUT", _duration(ollama.load_timeout)
    yield "OLLAMA_MODELS", ollama.models
    yield "OLLAMA_NOPRUNE", _switch(ollama.noprune)
    yield "OLLAMA_FLASH_ATTENTION", _switch(ollama.flash_attention)
    yield "OLLAMA_KV_CACHE_TYPE", ollama.kv_cache_type
    yield "OLLAMA_SCHED_SPREAD", _switch(ollama.sched_spread)
    yield "OLLAMA_GPU_OVERHEAD", None if ollama.gpu_overhead is None else str(int(ollama.gpu_overhead))
    yield "OLLAMA_ORIGINS", None if ollama.origins is None else ",".join(ollama.origins)


def _text(value: int | None) -> str | None:
    return None if value is None else str(value)


def _duration(seconds: float | None) -> str | None:
    return None if seconds is None else duration(seconds)


def _switch(value: bool | None) -> str | None:
    """Ollama takes what it cannot read for true."""
    return None if value is None else "1" if value else "0"
