"""The fleet file's section on one Ollama's own settings."""

from __future__ import annotations

from typing import Literal

from spoe_agent.fleet.section import Section
from spoe_agent.fleet.units import (
    AbsolutePath,
    CountOrZero,
    Origin,
    SecondsOrForever,
    SpareMemory,
    Tokens,
)


class OllamaSettings(Section):
    """Settings of one Ollama server, as its OLLAMA_* variables. What is not written is left to Ollama."""

    max_loaded_models: CountOrZero = 0
    """OLLAMA_MAX_LOADED_MODELS: models kept loaded at a time. 0: three per GPU, or three on CPU."""
    context_length: Tokens | None = None
    """OLLAMA_CONTEXT_LENGTH: tokens per slot. Left out: Ollama picks by VRAM, unless Pointsman writes its environment:
    that says 32768 where every GPU group of the fleet has 23 GiB and more, else 4096."""
    keep_alive: SecondsOrForever | None = None
    """OLLAMA_KEEP_ALIVE: how long an idle model stays loaded. Ollama's default is 5m; below zero: for ever."""
    max_queue: CountOrZero | None = None
    """OLLAMA_MAX_QUEUE: requests Ollama queues before it answers 503. Ollama's default is 512."""
    load_timeout: SecondsOrForever | None = None
    """OLLAMA_LOAD_TIMEOUT: how long a load may make no progress. Ollama's default is 5m; 0 or below: for ever."""
    models: AbsolutePath | None = None
    """OLLAMA_MODELS: folder of the model store. Several instances may share one."""
    noprune: bool = True
    """OLLAMA_NOPRUNE: keep unused blobs at start-up. On by default here: an instance that starts must not delete
    what another one is downloading into a shared store."""
    flash_attention: bool | None = None
    """OLLAMA_FLASH_ATTENTION. Left out: Ollama decides per model."""
    kv_cache_type: Literal["f16", "q8_0", "q4_0"] | None = None
    """OLLAMA_KV_CACHE_TYPE: precision of the context's cache, which takes about half as much memory with q8_0 and a
    quarter with q4_0. Ollama's default is f16."""
    sched_spread: bool | None = None
    """OLLAMA_SCHED_SPREAD: spread each model over all GPUs of the instance, also when one would do."""
    gpu_overhead: SpareMemory | None = None
    """OLLAMA_GPU_OVERHEAD: memory per GPU that Ollama leaves free."""
    origins: tuple[Origin, ...] | None = None
    """OLLAMA_ORIGINS: more browser origins that this Ollama lets in when it is called past HAProxy."""
