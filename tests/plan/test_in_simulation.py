"""Plans on simulated Ollamas, which load and evict by Ollama's own rules: what is planned together stays together."""

import asyncio
import math

import aiohttp
import pytest

from spoe_agent.plan.entries import entries
from spoe_agent.plan.proposal import propose
from spoe_agent.routing.names import display
from spoe_agent.simulator.catalog import Catalog, Model
from spoe_agent.simulator.profile import InstanceProfile
from spoe_agent.simulator.server import SimulatedOllama
from tests.plan.described import EMBED, LLAMA_1B, LLAMA_8B, QWEN_32B, asked, gpus


def simulated(entry, group):
    """The Ollama that is started as the plan says, on that much memory."""
    models = [
        Model(
            display(wish.model),
            wish.weights,
            kv_bytes_per_token=wish.shape.token_bytes,
            context_limit=wish.trained or 131_072,
            embedding_only=wish.is_one_by_one,
        )
        for wish in group.wishes
    ]
    profile = InstanceProfile(
        vram_bytes=group.gpus[0].bytes * len(group.gpus),
        num_parallel=entry.num_parallel,
        max_loaded_models=entry.max_loaded,
        context_length=entry.context,
        keep_alive_s=math.inf,
    )
    return SimulatedOllama(profile, Catalog(models), time_scale=2000.0)


async def loaded(ollama, names):
    """Load models in an order; return those that are there afterwards, wholly on the GPU."""
    url = f"http://127.0.0.1:{await ollama.start()}"
    try:
        async with aiohttp.ClientSession() as session:
            for name in names:
                path, what = ("/api/embed", {"input": []}) if "embed" in name else ("/api/generate", {})
                async with session.post(url + path, json={"model": name, **what}) as answer:
                    assert answer.status == 200, await answer.text()
            async with session.get(url + "/api/ps") as answer:
                models = (await answer.json())["models"]
    finally:
        await ollama.stop()
    return {one["name"] for one in models if one["size"] == one["size_vram"]}


WISHES = [
    *(asked(LLAMA_8B, model=f"registry.ollama.ai/library/a{number}:latest", demand=2.0) for number in range(4)),
    *(asked(LLAMA_1B, model=f"registry.ollama.ai/library/b{number}:latest") for number in range(4)),
    *(asked(QWEN_32B, model=f"registry.ollama.ai/library/c{number}:latest") for number in range(3)),
    EMBED,
]


@pytest.mark.parametrize("machine", [gpus(2, 80), gpus(3, 48), gpus(6, 24)], ids=["2x80", "3x48", "6x24"])
async def test_what_lives_together_is_loaded_together_in_either_order(machine):
    plan = propose(machine, WISHES)
    assert any(len(group.wishes) > 2 for group in plan.groups)
    for entry, group in zip(entries(plan, machine, None, 4096), plan.groups, strict=True):
        names = [display(wish.model) for wish in group.wishes]
        for order in (names, names[::-1]):  # the largest first, and last
            async with asyncio.timeout(60):
                assert await loaded(simulated(entry, group), order) == set(names)
