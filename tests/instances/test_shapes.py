"""Shapes from answers of /api/show: models whose caches are known, and what else servers say."""

import aiohttp
import pytest

from spoe_agent.instances.http import Remote
from spoe_agent.instances.ollama import OllamaClient
from spoe_agent.instances.shapes import shape_of
from spoe_agent.routing.memory import ModelShape
from spoe_agent.simulator.catalog import Catalog, Model
from spoe_agent.simulator.server import SimulatedOllama


def shown(arch, tensors=None, **info):
    keys = {f"{arch}.{key.replace('__', '.')}": value for key, value in info.items()}
    return {"model_info": {"general.architecture": arch} | keys, "tensors": tensors}


LLAMA_8B = {
    "block_count": 32,
    "attention__head_count": 32,
    "attention__head_count_kv": 8,
    "embedding_length": 4096,
    "feed_forward_length": 14336,
}
GEMMA3_27B = {
    "block_count": 62,
    "attention__head_count": 32,
    "attention__head_count_kv": 16,
    "attention__key_length": 128,
    "attention__value_length": 128,
    "attention__sliding_window": 1024,
    "embedding_length": 5376,
    "feed_forward_length": 21504,
}
GPT_OSS_120B = {
    "block_count": 36,
    "attention__head_count": 64,
    "attention__head_count_kv": 8,
    "attention__key_length": 64,
    "attention__value_length": 64,
    "attention__sliding_window": 128,
    "embedding_length": 2880,
    "expert_used_count": 4,
    "expert_feed_forward_length": 2880,
}


def batch(feed_forward, embedding):
    return 4 * (2 * feed_forward + 4 * embedding)


@pytest.mark.parametrize(
    ("arch", "info", "expected"),
    [
        ("llama", LLAMA_8B, ModelShape(32 * 4096, batch_bytes=batch(14336, 4096))),
        ("llama", LLAMA_8B | {"attention__head_count_kv": [8, 8, 8]}, ModelShape(32 * 4096, 0, 0, batch(14336, 4096))),
        ("gemma3", GEMMA3_27B, ModelShape(10 * 8192, 52 * 8192, 1024, batch(21504, 5376))),
        ("gptoss", GPT_OSS_120B, ModelShape(18 * 2048, 18 * 2048, 128, batch(4 * 2880, 2880))),
        ("phi3", LLAMA_8B | {"attention__sliding_window": 2047}, ModelShape(32 * 4096, 0, 0, batch(14336, 4096))),
        (
            "gemma3",
            GEMMA3_27B | {"attention__sliding_window_pattern": 2},
            ModelShape(31 * 8192, 31 * 8192, 1024, batch(21504, 5376)),
        ),
    ],
)
def test_by_heads(arch, info, expected):
    assert shape_of(shown(arch, **info)) == expected


def tensor(layer, part, width):
    return {"name": f"blk.{layer}.{part}.weight", "type": "Q4_K", "shape": [1024, width]}


KV = [tensor(layer, part, 512) for layer in range(4) for part in ("attn_k", "attn_v")]


@pytest.mark.parametrize(
    ("arch", "tensors", "more", "whole", "windowed"),
    [
        ("llama", KV, {}, 4 * 1024, 0),
        ("qwen3next", [tensor(3, "attn_k", 512), tensor(3, "attn_v", 512)], {}, 1024, 0),
        ("deepseek2", [tensor(layer, "attn_kv_a_mqa", 576) for layer in range(4)], {}, 4 * 576, 0),
        ("phi2", [tensor(layer, "attn_qkv", 3072) for layer in range(4)], {}, 4 * 8 * 2 * 32, 0),
        ("gemma4", [tensor(layer, "attn_k", 512) for layer in range(4)], {}, 4 * 1024, 0),
        ("gemma2", KV, {}, 2 * 1024, 2 * 1024),
        ("smallthinker", KV, {"attention__sliding_window": 4096}, 1024, 3 * 1024),
        ("gemma4", KV, {"attention__shared_kv_layers": 1}, 3 * 1024, 0),
    ],
)
def test_by_tensors(arch, tensors, more, whole, windowed):
    heads = {"block_count": 4, "attention__head_count": 32, "attention__head_count_kv": 8, "embedding_length": 1024}
    found = shape_of(shown(arch, tensors, **heads, **more))
    assert (found.token_bytes, found.windowed_bytes) == (2 * whole, 2 * windowed)


@pytest.mark.parametrize(
    "answer", [{}, {"model_info": None}, {"model_info": {}}, {"model_info": {"general.architecture": "llama"}}]
)
def test_who_says_too_little_tells_nothing(answer):
    assert shape_of(answer) is None


@pytest.mark.parametrize("tensors", ["no", [None, {}, {"name": "blk.0.attn_k.weight"}, {"name": 1, "shape": []}]])
def test_odd_tensors_are_left_out(tensors):
    assert shape_of(shown("llama", tensors, **LLAMA_8B)).token_bytes == 32 * 4096


async def test_a_server_is_asked():
    ollama = SimulatedOllama(catalog=Catalog([Model("m", 10**9, kv_bytes_per_token=32 * 4096)]))
    port = await ollama.start()
    try:
        async with aiohttp.ClientSession() as session:
            found = await OllamaClient(session, Remote(f"http://127.0.0.1:{port}"), 5.0).shape("m")
    finally:
        await ollama.stop()
    assert found.token_bytes == 32 * 4096
