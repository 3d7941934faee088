"""What an instance fails goes to another one, once: where that was to be expected, or costs HAProxy little."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from collections.abc import AsyncIterator
from functools import partial

import aiohttp
import pytest
import pytest_asyncio

from spoe_agent.rig.process import accepts
from spoe_agent.rig.stack import Simulated, Stack
from tests.e2e.conftest import SETTINGS, chat, seen_by, stack_of, until
from tests.e2e.operator import ask, fault, one, status

pytestmark = pytest.mark.asyncio(loop_scope="module")

AT_ONCE = 8


def sized(max_inspected_body: str) -> dict[str, object]:
    return {"policies": {**SETTINGS["policies"], "max_inspected_body": max_inspected_body}}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def own(
    request: pytest.FixtureRequest, binary: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Stack]:
    """Two instances; the parameter is `max_inspected_body`."""
    simulated = Simulated(instances=2, models=[("alpha:latest", "4.7GB")], time_scale=50.0)
    async with stack_of(binary, tmp_path_factory.mktemp("repeat"), simulated, sized(request.param)) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module", autouse=True)
async def before_each(own: Stack, session: aiohttp.ClientSession) -> None:
    await heal(own, session)


async def heal(own: Stack, session: aiohttp.ClientSession) -> None:
    """Lift faults, and have both instances serve the model again."""
    body = chat("alpha", stream=False, keep_alive=-1)
    for instance in ("gpu0", "gpu1"):
        await fault(session, own, instance, "none")

        async def serves(wish: str = instance) -> bool:
            headers = {"X-Pointsman-Instance": wish}
            async with session.post(f"{own.url}/api/chat", json=body, headers=headers) as answer:
                return answer.status == 200

        await until(serves, 30, f"{instance} serves")

    async def are_up() -> bool:
        return {found["health"] for found in (await status(session, own))["instances"]} == {"up"}

    await until(are_up, 30, "both are up")


async def burst(session: aiohttp.ClientSession, stack: Stack) -> Counter[int]:
    """Ask eight times at once."""
    answers = await asyncio.gather(*(ask(session, stack, "alpha") for _ in range(AT_ONCE)))
    return Counter(code for code, _ in answers)


async def tries(session: aiohttp.ClientSession, stack: Stack) -> Counter[object]:
    """Return how many instances saw each request."""
    seen = await seen_by(session, stack, 0) + await seen_by(session, stack, 1)
    return Counter(request["request_id"] for request in seen)


@pytest.mark.parametrize("own", ["4MiB"], indirect=True)
async def test_whom_a_full_instance_refuses_another_one_serves(own: Stack, session: aiohttp.ClientSession) -> None:
    """But for those that were on their way when nobody knew yet."""
    await fault(session, own, "gpu0", "wrong_status", status=503)
    first = await burst(session, own)
    assert first.keys() <= {200, 503}
    refused = len(await seen_by(session, own, 0))

    async def is_tried_again() -> bool:
        assert await burst(session, own) == {200: AT_ONCE}
        return len(await seen_by(session, own, 0)) > refused + 3

    await until(is_tried_again, 30, "the full one is asked again")
    assert max((await tries(session, own)).values()) == 2
    assert (await one(session, own, "gpu0"))["health"] == "up"


@pytest.mark.parametrize("code", [500, 503])
@pytest.mark.parametrize("own", ["4MiB", "64KiB"], indirect=True)
async def test_no_storm_when_all_fail(own: Stack, session: aiohttp.ClientSession, code: int) -> None:
    """A request is tried twice at most, whatever is known of the instances."""
    for instance in ("gpu0", "gpu1"):
        await fault(session, own, instance, "wrong_status", status=code)
    begun = await tries(session, own)
    for _ in range(6):
        assert (await burst(session, own)).keys() <= {code, 503}
    found = await tries(session, own) - begun
    assert max(found.values()) <= 2
    assert {instance["health"] for instance in (await status(session, own))["instances"]} <= {"up", "suspect"}


@pytest.mark.parametrize("own", ["64KiB"], indirect=True)
async def test_where_it_costs_little_nobody_fails(own: Stack, session: aiohttp.ClientSession) -> None:
    """Full, broken, killed over a request: before anybody knows."""
    for code in (503, 500):
        await fault(session, own, "gpu0", "wrong_status", status=code)
        assert await burst(session, own) == {200: AT_ONCE}
        await heal(own, session)
    await fault(session, own, "gpu0", "hang_before_first_byte")
    before = len(await seen_by(session, own, 0))
    async with asyncio.TaskGroup() as group:
        asked = group.create_task(burst(session, own))

        async def some_wait_there() -> bool:
            return len(await seen_by(session, own, 0)) > before

        await until(some_wait_there, 30, "requests at the one that hangs")
        own.ollamas[0].signal(signal.SIGKILL)
    assert asked.result() == {200: AT_ONCE}
    await own.ollamas[0].wait()
    await own.ollamas[0].start()
    await own.ollamas[0].ready(partial(accepts, "127.0.0.1", own.fleet.instances[0].port))


@pytest.mark.parametrize("own", ["64KiB"], indirect=True)
async def test_a_clients_mistake_is_answered_as_before(own: Stack, session: aiohttp.ClientSession) -> None:
    body = chat("alpha", stream=False, options={"num_ctx": "abc"})
    for _ in range(7):
        async with session.post(f"{own.url}/api/chat", json=body) as answer:
            assert answer.status == 500
    assert {instance["health"] for instance in (await status(session, own))["instances"]} == {"up"}
    assert (await ask(session, own, "alpha"))[0] == 200
