"""Requests that are not served, for want of room, of a slot, of a model, or because their clients do not wait: an
operator sees that, and why.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
import pytest_asyncio

from spoe_agent.rig.haproxy import version
from spoe_agent.rig.stack import Simulated, Stack
from tests.e2e.conftest import chat, routed, until
from tests.e2e.eyes import scene, scrape, see, total
from tests.e2e.operator import QUICK, fault, one, status

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.haproxy]

MODELS = (("alpha:latest", "4.7GB"), ("slow:7b", "5GB"), ("huge:70b", "200GB"))
KIB = 1 << 10
DECISIONS, ENDED, HOLD = "pointsman_decisions_total", "pointsman_requests_ended_total", "pointsman_hold_seconds_count"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def own(binary: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """One instance that runs one request of a model at a time."""
    simulated = Simulated(instances=1, models=MODELS, vram="16GiB", num_parallel=1, time_scale=50.0)
    policies = {**QUICK, "hold_timeout": "30s", "max_inspected_body": "512KiB"}
    async with Stack(tmp_path_factory.mktemp("unserved"), binary, simulated, settings={"policies": policies}) as stack:
        yield stack


async def refused(session: aiohttp.ClientSession, stack: Stack, body: dict[str, object], **headers: str) -> int:
    """Ask, and return the status of the refusal."""
    async with session.post(f"{stack.url}/api/chat", json=body, headers=headers) as answer:
        await answer.read()
        assert routed(answer)[0] == "-"
        return answer.status


@asynccontextmanager
async def no_slot(session: aiohttp.ClientSession, stack: Stack) -> AsyncIterator[None]:
    """alpha's only slot is taken by a long answer."""
    body = chat("alpha", options={"num_predict": 100_000})
    async with session.post(f"{stack.url}/api/chat", json=body) as answer:
        await answer.content.readany()
        yield


async def leaves(session: aiohttp.ClientSession, stack: Stack, model: str, is_there: str) -> None:
    """Ask, and leave as soon as the request is where it should be: "hold", or "loading" at the instance."""

    async def there() -> bool:
        if is_there == "hold":
            return bool((await status(session, stack))["hold"]["length"])
        return model in (await one(session, stack, "gpu0"))["loading"]

    async with asyncio.TaskGroup() as group:
        asking = group.create_task(refused(session, stack, chat(model)))
        await until(there, 10, f"{model} {is_there}")
        asking.cancel()


async def test_a_model_that_no_instance_can_hold(own: Stack, session: aiohttp.ClientSession) -> None:
    assert await refused(session, own, chat("huge:70b")) == 400
    await see(session, own, "", "no instance has the GPU memory for huge:70b", DECISIONS, reason="cannot fit")


async def test_a_model_that_nobody_has(own: Stack, session: aiohttp.ClientSession) -> None:
    assert await refused(session, own, chat("nobody:1b")) == 404
    await see(session, own, "", "nobody:1b is on no instance", DECISIONS, reason="not found")


async def test_a_body_that_is_too_large_to_be_read(own: Stack, session: aiohttp.ClientSession) -> None:
    body = {"messages": [{"role": "user", "content": "x" * 900 * KIB}], "model": "alpha"}
    assert await refused(session, own, body) == 413
    await see(session, own, "", "a body was too large for its model", DECISIONS, reason="too large")


async def test_no_slot_in_time(own: Stack, session: aiohttp.ClientSession) -> None:
    async with no_slot(session, own):
        assert await refused(session, own, chat("alpha"), **{"x-pointsman-timeout": "1"}) == 503
        await see(session, own, "", "no slot was free for alpha:latest", HOLD, outcome="timeout")


async def test_a_client_that_leaves_while_it_is_held(own: Stack, session: aiohttp.ClientSession, binary: str) -> None:
    async with no_slot(session, own):
        await leaves(session, own, "alpha", "hold")
    if version(binary).startswith("2."):
        what = "clients left while they waited for a slot of alpha:latest"
        await see(session, own, "", what, HOLD, outcome="left")
        return

    async def counted() -> bool:
        found = await scrape(session, own)
        left = total(found, HOLD.removesuffix("_count"), HOLD, outcome="left")
        return left + total(found, ENDED, outcome="unanswered") > 0

    # HAProxy from 3.0 on sees it at once, or when the slot is granted: before the instance has the request, or after.
    await until(counted, 20, "that a client left before its first token")


async def test_a_client_that_leaves_while_its_model_loads(own: Stack, session: aiohttp.ClientSession) -> None:
    await fault(session, own, "gpu0", "wedged_loader")
    await leaves(session, own, "slow:7b", "loading")
    await see(session, own, "", "clients left while slow:7b loaded", ENDED, instance="gpu0", outcome="unanswered")
    await fault(session, own, "gpu0", "none")


async def test_a_client_that_leaves_in_the_middle_of_an_answer_is_no_fault(
    own: Stack, session: aiohttp.ClientSession
) -> None:
    async with no_slot(session, own):
        pass

    async def counted() -> bool:
        return total(await scrape(session, own), ENDED, outcome="left") > 0

    await until(counted, 10, "that a client left")
    found = (await scene(session, own))["decisions"]
    assert ("left", "") in {(decision["end"], decision["grade"]) for decision in found}
    assert total(await scrape(session, own), ENDED, outcome="broken") == 0
