"""Two models, one place: whoever waits for it gets it, however busy the other is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import pytest
import pytest_asyncio

from spoe_agent.rig.stack import Simulated, Stack
from tests.e2e.conftest import chat, routed, seen_by, stack_of

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.both_fronts]

MODELS = (("alpha:latest", "4.7GB"), ("beta:latest", "4.7GB"))
DEADLINE_S = 50


@pytest_asyncio.fixture(loop_scope="module")
async def own(binary: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """One instance that keeps one model at a time, and runs four requests of it."""
    simulated = Simulated(instances=1, models=MODELS, num_parallel=4, max_loaded_models=1, time_scale=10.0)
    async with stack_of(binary, tmp_path_factory.mktemp("room"), simulated) as running:
        yield running


async def ask(session: aiohttp.ClientSession, stack: Stack, model: str, tokens: int) -> tuple[int, str]:
    """Send a request and return its status and how it was routed."""
    body = chat(model, stream=False, options={"num_predict": tokens})
    async with session.post(f"{stack.url}/api/chat", json=body) as answer:
        await answer.read()
        return answer.status, routed(answer)[1]


async def test_a_model_that_is_never_idle_gives_way_in_the_end(own: Stack, session: aiohttp.ClientSession) -> None:
    """Three callers keep alpha busy without a pause; beta is asked for once, and then alpha goes on."""
    enough = asyncio.Event()
    answers: list[tuple[int, str]] = []

    async def keep_busy(begin_s: float) -> None:
        await asyncio.sleep(begin_s)
        while not enough.is_set():
            answers.append(await ask(session, own, "alpha", 60))

    async with asyncio.TaskGroup() as group:
        for number in range(3):
            group.create_task(keep_busy(0.1 * number))
        async with asyncio.timeout(DEADLINE_S):
            while len(answers) < 6:
                await asyncio.sleep(0.02)
            assert await ask(session, own, "beta", 5) == (200, "evict")
            before = len(answers)
            while len(answers) < before + 6:
                await asyncio.sleep(0.02)
        enough.set()
    assert {status for status, _ in answers} == {200}
    assert "fallback" not in {reason for _, reason in answers}
    order = [str(seen["model"]).partition(":")[0] for seen in await seen_by(session, own, 0)]
    place = order.index("beta")
    assert (order.count("beta"), "alpha" in order[:place], "alpha" in order[place + 1 :]) == (1, True, True)
