"""What an instance is started with, for each way to write it in the fleet file."""

from __future__ import annotations

import pytest

from spoe_agent.fleet import FleetError, loads
from spoe_agent.fleet.variables import KEYS
from spoe_agent.instances.environment import UnnamedGpu, environment

NVIDIA, OTHER = "GPU-8f1c6f0e-0c4e-4b8a-9f57-6f6f5b1c2d3e", "GPU-11111111-0c4e-4b8a-9f57-6f6f5b1c2d3e"
AMD = "GPU-1a2b3c4d5e6f7081"
PLAIN = {
    "OLLAMA_HOST": "127.0.0.1:11435",
    "OLLAMA_NUM_PARALLEL": "1",
    "OLLAMA_MAX_LOADED_MODELS": "3",
    "OLLAMA_CONTEXT_LENGTH": "4096",
    "OLLAMA_NOPRUNE": "1",
}
BOUND = {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "OLLAMA_VULKAN": "0", "OLLAMA_MAX_LOADED_MODELS": "6"}
URL = 'url: "http://127.0.0.1:11435"'


def of(keys: str, url: str = URL) -> dict[str, str]:
    (instance,) = loads(f"instances: [{{name: g0, {url}{keys and ', ' + keys}}}]").instances
    return environment(instance)


CASES = {
    # what the file says -> what is there beside, or in place of, PLAIN
    "nothing": ("", {}),
    "slots": ("num_parallel: 4", {"OLLAMA_NUM_PARALLEL": "4"}),
    "indexes": ("gpus: [0, 1]", {**BOUND, "CUDA_VISIBLE_DEVICES": "0,1", "ROCR_VISIBLE_DEVICES": "0,1"}),
    "UUIDs of NVIDIA's": (
        f"gpus: [{NVIDIA}, {OTHER}]",
        {
            "CUDA_VISIBLE_DEVICES": f"{NVIDIA},{OTHER}",
            "ROCR_VISIBLE_DEVICES": "-1",
            "OLLAMA_VULKAN": "0",
            "OLLAMA_MAX_LOADED_MODELS": "6",
        },
    ),
    "a part of one": (
        f"gpus: [MIG-{NVIDIA[4:]}]",
        {"CUDA_VISIBLE_DEVICES": f"MIG-{NVIDIA[4:]}", "ROCR_VISIBLE_DEVICES": "-1", "OLLAMA_VULKAN": "0"},
    ),
    "no GPU": (
        "vram: 0",
        {"CUDA_VISIBLE_DEVICES": "-1", "ROCR_VISIBLE_DEVICES": "-1", "OLLAMA_VULKAN": "0"},
    ),
    "a UUID of AMD's": (
        f"gpus: [{AMD}]",
        {"CUDA_VISIBLE_DEVICES": "-1", "ROCR_VISIBLE_DEVICES": AMD, "OLLAMA_VULKAN": "0"},
    ),
    "a UUID and an index": (
        f"gpus: [{NVIDIA}, 1]",
        {**BOUND, "CUDA_VISIBLE_DEVICES": f"{NVIDIA},1", "ROCR_VISIBLE_DEVICES": "1"},
    ),
    "UUIDs of both": (
        f"gpus: [{AMD}, {NVIDIA}]",
        {
            "CUDA_VISIBLE_DEVICES": NVIDIA,
            "ROCR_VISIBLE_DEVICES": AMD,
            "OLLAMA_VULKAN": "0",
            "OLLAMA_MAX_LOADED_MODELS": "6",
        },
    ),
    "a UUID's beginning": (
        "gpus: [GPU-8f1c6f0e]",
        {"CUDA_VISIBLE_DEVICES": "GPU-8f1c6f0e", "ROCR_VISIBLE_DEVICES": "-1", "OLLAMA_VULKAN": "0"},
    ),
    "models at a time": ("ollama: {max_loaded_models: 2}", {"OLLAMA_MAX_LOADED_MODELS": "2"}),
    "context": ("ollama: {context_length: 8192}", {"OLLAMA_CONTEXT_LENGTH": "8192"}),
    "context where every group is large": ("vram: 23GiB", {"OLLAMA_CONTEXT_LENGTH": "32768"}),
    "others": (
        'env: {OLLAMA_DEBUG: 1, HSA_OVERRIDE_GFX_VERSION: "10.3.0"}',
        {"OLLAMA_DEBUG": "1", "HSA_OVERRIDE_GFX_VERSION": "10.3.0"},
    ),
    "kept for a while": ("ollama: {keep_alive: 1h30m}", {"OLLAMA_KEEP_ALIVE": "5400s"}),
    "kept for ever": ("ollama: {keep_alive: -1}", {"OLLAMA_KEEP_ALIVE": "-1s"}),
    "not kept": ("ollama: {keep_alive: 0}", {"OLLAMA_KEEP_ALIVE": "0s"}),
    "parts of a second": ("ollama: {load_timeout: 1.5s}", {"OLLAMA_LOAD_TIMEOUT": "1500ms"}),
    "no queue": ("ollama: {max_queue: 0}", {"OLLAMA_MAX_QUEUE": "0"}),
    "store": ("ollama: {models: /srv/models}", {"OLLAMA_MODELS": "/srv/models"}),
    "pruning": ("ollama: {noprune: false}", {"OLLAMA_NOPRUNE": "0"}),
    "cache": (
        "ollama: {flash_attention: true, kv_cache_type: q8_0}",
        {"OLLAMA_FLASH_ATTENTION": "1", "OLLAMA_KV_CACHE_TYPE": "q8_0"},
    ),
    "no flash attention": ("ollama: {flash_attention: false}", {"OLLAMA_FLASH_ATTENTION": "0"}),
    "spread": ("ollama: {sched_spread: true}", {"OLLAMA_SCHED_SPREAD": "1"}),
    "overhead": ("ollama: {gpu_overhead: 1GiB}", {"OLLAMA_GPU_OVERHEAD": str(1 << 30)}),
    "origins": (
        'ollama: {origins: ["app://a", "https://*.example.com"]}',
        {"OLLAMA_ORIGINS": "app://a,https://*.example.com"},
    ),
}


@pytest.mark.parametrize(("keys", "told"), CASES.values(), ids=CASES)
def test_what_it_is_started_with(keys: str, told: dict[str, str]) -> None:
    assert of(keys) == PLAIN | told


def test_an_address_of_ipv6_has_brackets() -> None:
    assert of("", 'url: "http://[::1]:11435"')["OLLAMA_HOST"] == "[::1]:11435"


def test_behind_a_proxy_its_own_address_is_not_known() -> None:
    assert "OLLAMA_HOST" not in of("", 'url: "https://ollama.example:443/gpu0"')


def test_a_bus_id_is_nothing_to_start_with() -> None:
    with pytest.raises(UnnamedGpu, match=r"GPU 0000:3b:00\.0 of g0: CUDA and ROCm know no PCI bus ids; write its UUID"):
        of('gpus: ["3b:00.0"]')


def test_one_context_for_all_where_one_group_is_small() -> None:
    other = '{name: g1, url: "http://127.0.0.1:11436", vram: 22GiB}'
    large, _ = loads(f"instances: [{{name: g0, {URL}, vram: 80GiB}}, {other}]").instances
    assert environment(large)["OLLAMA_CONTEXT_LENGTH"] == "4096"


def test_what_has_a_key_is_refused_under_env() -> None:
    """All variables that the file's keys give, and no others."""
    everything = "gpus: [0], ollama: {models: /m, context_length: 9, keep_alive: 1, max_queue: 1, load_timeout: 1"
    everything += ", flash_attention: true, kv_cache_type: f16, sched_spread: true, gpu_overhead: 1GiB, origins: []}"
    assert set(of(everything)) == KEYS.keys()
    with pytest.raises(FleetError, match=r"env\.OLLAMA_HOST: .*has a key of its own; write url"):
        of("env: {OLLAMA_HOST: a}")
