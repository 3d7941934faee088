"""A client has a model unloaded: wherever it is loaded, at once, and without a slot."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial

import aiohttp
import pytest
import pytest_asyncio

from spoe_agent.rig.stack import Simulated, Stack
from tests.e2e.conftest import chat, routed, stack_of, until
from tests.e2e.operator import one

pytestmark = pytest.mark.asyncio(loop_scope="module")

DEADLINE_S = 30
MODELS = (("alpha:latest", "4.7GB"), ("beta:7b", "9GB"))
SETTINGS = {"defaults": {"max_connections": 1}}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def two(binary: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """Two instances, of which each lets one request through at a time."""
    simulated = Simulated(instances=2, num_parallel=1, models=MODELS, time_scale=20.0)
    async with stack_of(binary, tmp_path_factory.mktemp("unload"), simulated, SETTINGS) as running:
        yield running


async def unload(session: aiohttp.ClientSession, stack: Stack) -> tuple[str, str]:
    async with session.post(f"{stack.url}/api/generate", json={"model": "alpha", "keep_alive": 0}) as answer:
        assert (answer.status, (await answer.json())["done_reason"]) == (200, "unload")
        return routed(answer)


async def loaded(session: aiohttp.ClientSession, url: str) -> set[str]:
    async with session.get(f"{url}/api/ps") as answer:
        return {model["name"] for model in (await answer.json())["models"]}


async def test_all_copies_are_unloaded_and_no_slot_is_waited_for(two: Stack, session: aiohttp.ClientSession) -> None:
    urls = [instance.url for instance in two.fleet.instances]
    for name, url in zip(("gpu0", "gpu1"), urls, strict=True):
        async with session.post(f"{url}/api/generate", json={"model": "alpha"}) as answer:
            assert answer.status == 200
        await until(partial(knows, session, two, name), DEADLINE_S, f"alpha is known to be loaded at {name}")
    # Every connection of both is taken.
    body = chat("beta:7b", options={"num_predict": 100_000})
    streams = [await session.post(f"{two.url}/api/chat", json=body) for _ in urls]
    assert {routed(stream)[0] for stream in streams} == {"gpu0", "gpu1"}
    assert [await is_gone(session, url) for url in urls] == [False, False]
    assert (await unload(session, two))[1] == "unload"
    for url in urls:
        await until(partial(is_gone, session, url), DEADLINE_S, f"alpha is unloaded at {url}")
    for stream in streams:
        stream.close()


async def knows(session: aiohttp.ClientSession, stack: Stack, name: str) -> bool:
    return "alpha:latest" in [there["model"] for there in (await one(session, stack, name))["loaded"]]


async def is_gone(session: aiohttp.ClientSession, url: str) -> bool:
    return "alpha:latest" not in await loaded(session, url)


async def test_what_is_loaded_and_unloaded_by_requests_says_so(two: Stack, session: aiohttp.ClientSession) -> None:
    async with session.post(f"{two.url}/api/generate", json={"model": "alpha"}) as answer:
        assert (answer.status, (await answer.json())["done_reason"]) == (200, "load")
        where, reason = routed(answer)
    assert reason in {"room", "evict"}
    assert await unload(session, two) == (where, "unload")
    async with session.post(f"{two.url}/api/chat", json=chat("alpha", stream=False)) as answer:
        # On a busy machine the agent may see late that the load before has ended.
        assert routed(answer)[1] in {"room", "loading"}
    # Loaded nowhere, or nowhere any more, it is all the same.
    assert [(await unload(session, two))[1] for _ in range(2)] == ["unload", "unload"]
