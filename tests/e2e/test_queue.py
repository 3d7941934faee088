"""HAProxy's own queue, where requests wait that are not held."""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
import pytest
import pytest_asyncio

from spoe_agent.rig.stack import Simulated, Stack
from tests.e2e.conftest import MODELS, chat

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.haproxy]

ONE_AT_A_TIME = {"num_parallel": 1, "max_connections": 1, "vram": "48GiB"}


@pytest_asyncio.fixture(loop_scope="module")
async def own(binary: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    settings = {"defaults": ONE_AT_A_TIME, "policies": {"hold_timeout": "0s", "queue_timeout": "1s"}}
    simulated = Simulated(instances=1, models=MODELS)
    async with Stack(tmp_path_factory.mktemp("queue"), binary, simulated, settings=settings) as running:
        yield running


async def test_whoever_waited_too_long_is_told_when_to_come_back(own: Stack, session: aiohttp.ClientSession) -> None:
    body = chat("alpha", options={"num_predict": 100_000})
    async with session.post(f"{own.url}/api/chat", json=body) as stream:
        await stream.content.readany()
        async with session.post(f"{own.url}/api/chat", json=chat("alpha")) as answer:
            error = (await answer.json())["error"]
            assert (answer.status, answer.headers.get("Retry-After")) == (503, "5"), error
            assert "could take the request in time" in error
