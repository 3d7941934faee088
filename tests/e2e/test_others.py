"""Somebody uses an instance directly: requests through the front go where nobody does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
import pytest_asyncio

from spoe_agent.rig.stack import Simulated, Stack
from tests.e2e.conftest import chat, routed, until
from tests.e2e.eyes import scene
from tests.e2e.operator import QUICK, ask, by_hand, one

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.haproxy]

MODELS = (("alpha:latest", "4.7GB"), ("small:1b", "300MB"))
DEADLINE_S = 60


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def own(binary: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """Two instances that run one request at a time."""
    simulated = Simulated(instances=2, models=MODELS, num_parallel=1, time_scale=10.0)
    folder = tmp_path_factory.mktemp("others")
    async with Stack(folder, binary, simulated, settings={"policies": QUICK}) as running:
        yield running


async def note(session: aiohttp.ClientSession, stack: Stack, instance: str) -> str:
    return str((await one(session, stack, instance))["note"])


@asynccontextmanager
async def direct(session: aiohttp.ClientSession, url: str, model: str) -> AsyncIterator[None]:
    """A client of one instance that asks without a pause."""

    async def client() -> None:
        while True:
            body = chat(model, stream=False, options={"num_predict": 100})
            async with session.post(f"{url}/api/chat", json=body) as answer:
                assert answer.status == 200

    task = asyncio.get_running_loop().create_task(client())
    try:
        yield
    finally:
        task.cancel()


async def test_nobody_waits_behind_others_where_an_instance_is_free(own: Stack, session: aiohttp.ClientSession) -> None:
    # gpu0 last: nothing else would speak for the other one, as this conversation was served there last.
    for name, other in (("gpu1", "gpu0"), ("gpu0", "gpu1")):
        await by_hand(session, own, other, "drain")
        assert await ask(session, own, "alpha") == (200, name)
        await by_hand(session, own, other, "ready")
    async with direct(session, own.fleet.instances[0].url, "alpha"):

        async def noticed() -> bool:
            return "used past Pointsman too: alpha:latest" in await note(session, own, "gpu0")

        await until(noticed, DEADLINE_S, "that others use gpu0")
        assert any("used past" in sign["what"] for sign in (await scene(session, own))["instances"][0]["signs"])
        for _ in range(10):
            # It is noticed anew with each answer of theirs; on a busy machine they may pause for longer.
            await until(noticed, DEADLINE_S, "that others still use gpu0")
            assert await ask(session, own, "alpha") == (200, "gpu1")
        assert "used past" not in await note(session, own, "gpu1")

    async def forgotten() -> bool:
        return "used past" not in await note(session, own, "gpu0")

    await until(forgotten, DEADLINE_S, "that others have left gpu0")


async def test_a_model_is_loaded_elsewhere_rather_than_waited_for_behind_a_strangers_long_answer(
    own: Stack, session: aiohttp.ClientSession
) -> None:
    """The stranger's own request has it loaded, and takes its only slot; it has not ended when ours comes."""
    body = chat("small:1b", options={"num_predict": 100_000})
    async with session.post(f"{own.fleet.instances[0].url}/api/chat", json=body) as stranger:
        await stranger.content.readany()

        async def noticed() -> bool:
            return bool((await one(session, own, "gpu0"))["others"].get("small:1b", 0.0) > 4.0)

        await until(noticed, DEADLINE_S, "that a request of others has run for long")
        body = chat("small:1b", stream=False, options={"num_predict": 2})
        async with session.post(f"{own.url}/api/chat", json=body) as answer:
            assert (answer.status, routed(answer)) == (200, ("gpu1", "room"))
        assert not stranger.content.at_eof()
        stranger.close()
