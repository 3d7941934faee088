"""Copies of a model have names of their own, and one runner in Ollama: asked for in turn they load it once."""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
import pytest
import pytest_asyncio

from spoe_agent.rig.stack import Simulated, Stack
from tests.e2e.conftest import chat, routed, stack_of, until

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.both_fronts]

NAMES = ("alpha", "twin", "third")
STORE = ("shared", (("alpha:latest", "14GB"), ("beta:latest", "9GB")))


@pytest_asyncio.fixture(loop_scope="module")
async def two(binary: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """Two instances on one store, with room for one of these names each."""
    simulated = Simulated(instances=2, time_scale=20.0, stores=(STORE, STORE))
    async with stack_of(binary, tmp_path_factory.mktemp("copies"), simulated) as running:
        yield running


async def ask(session: aiohttp.ClientSession, stack: Stack, model: str) -> tuple[int, str, str]:
    body = chat(model, stream=False, options={"num_predict": 1})
    async with session.post(f"{stack.url}/api/chat", json=body) as answer:
        await answer.read()
        return answer.status, *routed(answer)


async def all_polled(session: aiohttp.ClientSession, stack: Stack, path: str) -> None:
    """Wait until every instance was asked for a list, from now on."""

    async def polls() -> list[int]:
        found = []
        for instance in stack.fleet.instances:
            async with session.get(f"{instance.url}/sim/requests") as answer:
                seen = (await answer.json())["requests"]
            found.append(sum(one["path"] == path and not one["request_id"] for one in seen))
        return found

    before = await polls()

    async def more() -> bool:
        return all(now > then for now, then in zip(await polls(), before, strict=True))

    await until(more, 30, f"every instance is asked for {path}")


async def test_names_of_one_model_load_it_once(two: Stack, session: aiohttp.ClientSession) -> None:
    for copy in NAMES[1:]:
        async with session.post(f"{two.url}/api/copy", json={"source": "alpha", "destination": copy}) as answer:
            assert answer.status == 200

    await all_polled(session, two, "/api/tags")
    await all_polled(session, two, "/api/ps")  # the next poll: what the one before brought is known
    first = await ask(session, two, NAMES[-1])
    assert first[0::2] == (200, "room")
    later = [await ask(session, two, name) for _ in range(3) for name in NAMES]
    assert {(status, where) for status, where, _ in later} == {(200, first[1])}
    assert {reason for *_, reason in later} <= {"loaded", "loading"}
    loads = 0
    for instance in two.fleet.instances:
        async with session.get(f"{instance.url}/sim/stats") as answer:
            loads += sum((await answer.json())["loads"].values())
    assert loads == 1
