"""Further variables of an instance's environment (`env`): how they are written, and which have keys of their own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field

from spoe_agent.fleet.units import refuse

KEYS: Mapping[str, str] = {
    "OLLAMA_HOST": "url",
    "OLLAMA_NUM_PARALLEL": "num_parallel",
    "OLLAMA_MAX_LOADED_MODELS": "max_loaded_models under ollama",
    "OLLAMA_CONTEXT_LENGTH": "context_length under ollama",
    "OLLAMA_KEEP_ALIVE": "keep_alive under ollama",
    "OLLAMA_MAX_QUEUE": "max_queue under ollama",
    "OLLAMA_LOAD_TIMEOUT": "load_timeout under ollama",
    "OLLAMA_MODELS": "models under ollama",
    "OLLAMA_NOPRUNE": "noprune under ollama",
    "OLLAMA_FLASH_ATTENTION": "flash_attention under ollama",
    "OLLAMA_KV_CACHE_TYPE": "kv_cache_type under ollama",
    "OLLAMA_SCHED_SPREAD": "sched_spread under ollama",
    "OLLAMA_GPU_OVERHEAD": "gpu_overhead under ollama",
    "OLLAMA_ORIGINS": "origins under ollama",
    "CUDA_VISIBLE_DEVICES": "gpus",
    "CUDA_DEVICE_ORDER": "gpus",
    "ROCR_VISIBLE_DEVICES": "gpus",
    "OLLAMA_VULKAN": "gpus",
}
"""Variables that the fleet file has keys for: routing and checks go by those."""


def _name(name: str) -> str:
    if name in KEYS:
        raise refuse("variable", "has a key of its own", f"write {KEYS[name]}, which routing and checks go by")
    return name


def _value(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise refuse("variable", "must be text", 'write it in quotes, like "1"')
    if not str(value).isprintable():
        raise refuse("variable", "has characters that cannot be printed", "write one line without control characters")
    return str(value)


Variables = dict[
    Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,99}$"), AfterValidator(_name)],
    Annotated[str, BeforeValidator(_value), Field(max_length=4000)],
]
