"""Ollama computes embeddings of one model one at a time, whatever OLLAMA_NUM_PARALLEL is."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator

import aiohttp
import pytest
import pytest_asyncio

from spoe_agent.rig.stack import Simulated, Stack
from tests.e2e.conftest import routed, stack_of

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.both_fronts]


@pytest_asyncio.fixture(loop_scope="module")
async def two(binary: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """Two instances with four slots for each other model."""
    simulated = Simulated(instances=2, models=(("embed:latest", "270MB"),), num_parallel=4, time_scale=20.0)
    async with stack_of(binary, tmp_path_factory.mktemp("embed"), simulated) as running:
        yield running


async def test_many_at_once_are_shared_out_and_none_queues_inside_ollama(
    two: Stack, session: aiohttp.ClientSession
) -> None:
    async def one() -> str:
        async with session.post(f"{two.url}/api/embed", json={"model": "embed", "input": "word " * 4_000}) as answer:
            assert answer.status == 200, await answer.text()
            return routed(answer)[0]

    await one()
    assert set(Counter(await asyncio.gather(*(one() for _ in range(8))))) == {"gpu0", "gpu1"}
    for instance in two.fleet.instances:
        async with session.get(f"{instance.url}/sim/stats") as answer:
            assert (await answer.json())["max_in_flight"] == 1, instance.name
