"""Pulls, copies, uploads and deletions through the front, with stores that instances share and stores of their own."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import aiohttp
import pytest
import pytest_asyncio

from spoe_agent.rig.stack import Simulated, Stack
from tests.e2e.conftest import chat, routed, stack_of

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.both_fronts]

DEADLINE_S = 30


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def own(binary: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """Two instances on one store, one request at a time each; pulls take seconds."""
    store = ("shared", (("alpha:latest", "4.7GB"),))
    simulated = Simulated(instances=2, num_parallel=1, max_loaded_models=1, time_scale=20.0, stores=(store, store))
    async with stack_of(binary, tmp_path_factory.mktemp("store"), simulated) as running:
        yield running


async def test_pulls_and_lists_take_no_slot(own: Stack, session: aiohttp.ClientSession) -> None:
    """With one slot each and all of them taken by long answers, two pulls go on side by side, and lists answer."""
    body = chat("alpha", options={"num_predict": 100_000})
    async with asyncio.timeout(DEADLINE_S):
        streams = [await session.post(f"{own.url}/api/chat", json=body) for _ in range(2)]
        pulls = [
            await session.post(f"{own.url}/api/pull", json={"model": name}) for name in ("mistral:7b", "gemma3:4b")
        ]
        for pull in pulls:
            assert json.loads(await pull.content.readline()) == {"status": "pulling manifest"}
            assert routed(pull) == ("gpu0", "manage")
        for method, path in (("HEAD", "/"), ("GET", "/api/version"), ("GET", "/api/tags"), ("GET", "/api/ps")):
            async with session.request(method, own.url + path) as answer:
                assert answer.status == 200, path
        async with session.post(f"{own.url}/api/show", json={"model": "alpha"}) as answer:
            assert answer.status == 200
    for response in (*streams, *pulls):
        response.close()
