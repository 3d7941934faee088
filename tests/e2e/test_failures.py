"""Errors that say nothing of the instance harm nobody else; refusals, which come at once, do not draw all requests; an
instance that hangs is found although its clients do not wait.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator

import aiohttp
import pytest
import pytest_asyncio

from spoe_agent.instances.avoidance import FIRST_S
from spoe_agent.instances.stall import FIRST_BYTE_FACTOR
from spoe_agent.instances.usual import FIRST_BYTE_S
from spoe_agent.rig.stack import Simulated, Stack
from tests.e2e.conftest import MODELS, SETTINGS, chat, routed, stack_of, until
from tests.e2e.eyes import see
from tests.e2e.operator import QUICK, ask, fault, one, status

pytestmark = pytest.mark.asyncio(loop_scope="module")

FOUND_WITHIN_S = 15.0
LEAVES_AFTER_S = 1.1 * FIRST_BYTE_FACTOR * FIRST_BYTE_S
"""More than three times what is expected until a first byte has been seen."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def own(binary: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    simulated = Simulated(instances=3, models=MODELS, time_scale=50.0)
    # Silence alone must not tell: clients leave sooner.
    patient = {**QUICK, "health": {**QUICK["health"], "stall": "10s"}}
    settings = {**SETTINGS, "policies": {**SETTINGS["policies"], **patient}}
    async with stack_of(binary, tmp_path_factory.mktemp("failures"), simulated, settings) as running:
        yield running


async def loads(session: aiohttp.ClientSession, stack: Stack) -> int:
    """Return how often alpha was loaded so far; what is pinned, the agent has loaded by itself."""
    total = 0
    for instance in stack.fleet.instances:
        async with session.get(f"{instance.url}/sim/stats") as answer:
            total += sum(n for name, n in (await answer.json())["loads"].items() if "alpha" in name)
    return total


async def test_a_clients_mistake_is_its_own(own: Stack, session: aiohttp.ClientSession) -> None:
    """Seven of them, over three empty instances: 500 to the client, and nothing else."""
    for _ in range(7):
        body = chat("alpha", stream=False, options={"num_ctx": "abc"})
        async with session.post(f"{own.url}/api/chat", json=body) as answer:
            assert answer.status == 500, await answer.text()
    found = await status(session, own)
    assert {instance["health"] for instance in found["instances"]} == {"up"}
    broken = "pointsman_requests_ended_total"
    await see(session, own, "", "alpha:latest fails on", broken, outcome="broken")
    assert await loads(session, own) == 0
    assert (await ask(session, own, "alpha"))[0] == 200
    assert not any("alpha:latest fails on" in warning for warning in (await status(session, own))["warnings"])


@pytest.mark.both_fronts
@pytest.mark.parametrize("code", [503, 404, 429])
async def test_a_fast_refusal_does_not_draw_all_requests(own: Stack, session: aiohttp.ClientSession, code: int) -> None:
    _, victim = await ask(session, own, "alpha")
    await fault(session, own, victim, "wrong_status", status=code)
    statuses: Counter[int] = Counter()

    async def client() -> None:
        for _ in range(12):
            statuses[(await ask(session, own, "alpha"))[0]] += 1

    async with asyncio.TaskGroup() as group:
        for _ in range(4):
            group.create_task(client())
    assert statuses.keys() <= {200, code}
    # The four that came at once, and four more for each time that it is tried again, after 1, 2, 4, ... s.
    assert statuses[code] <= 12, statuses
    await fault(session, own, victim, "none")


@pytest.mark.parametrize(
    ("code", "why"),
    [(503, "answered 503: its queue is full"), (404, "answered 404 for gamma"), (429, "answered 429 for gamma")],
)
async def test_who_refuses_is_seen(own: Stack, session: aiohttp.ClientSession, code: int, why: str) -> None:
    """The model is pinned, so that it is asked again and again."""

    async def client() -> None:
        while True:
            await ask(session, own, "gamma")
            await asyncio.sleep(0.1)

    await fault(session, own, "gpu2", "wrong_status", status=code)
    async with asyncio.TaskGroup() as group:
        asking = group.create_task(client())
        what, doubts = f"passed over for a while: {why}", "pointsman_instance_doubts"
        await see(session, own, "gpu2", what, doubts, instance="gpu2", about="refusals")
        asking.cancel()
    await fault(session, own, "gpu2", "none")
    # It serves again, and the next one to refuse does so for the first time.
    assert await ask(session, own, "gamma") == (200, "gpu2")


async def wished(session: aiohttp.ClientSession, stack: Stack, model: str, instance: str) -> int:
    """Ask one instance, and no other; return the status."""
    body, wish = chat(model, stream=False, options={"num_predict": 2}), {"x-pointsman-instance": instance}
    async with session.post(f"{stack.url}/api/chat", json=body, headers=wish) as answer:
        await answer.read()
        return answer.status


async def test_who_fails_where_another_serves_is_seen(own: Stack, session: aiohttp.ClientSession) -> None:
    """As long as it serves other models, for that model alone; else it is not believed in at all."""
    await fault(session, own, "gpu0", "wrong_status", status=500, model="beta:7b")
    for instance, model, code in (("gpu0", "beta:7b", 500), ("gpu1", "beta:7b", 200), ("gpu0", "alpha", 200)):
        assert await wished(session, own, model, instance) == code

    async def client() -> None:
        while True:
            assert await wished(session, own, "beta:7b", "gpu0") == 500
            assert await wished(session, own, "alpha", "gpu0") == 200

    async with asyncio.TaskGroup() as group:
        asking = group.create_task(client())
        what, doubts = "passed over for a while: answered 500 for beta:7b", "pointsman_instance_doubts"
        await see(session, own, "gpu0", what, doubts, instance="gpu0", about="refusals")
        asking.cancel()
    await fault(session, own, "gpu0", "none")
    await fault(session, own, "gpu2", "wrong_status", status=500)
    for instance, code in (("gpu2", 500), ("gpu1", 200), ("gpu2", 500)):
        assert await wished(session, own, "beta:7b", instance) == code
    health = "pointsman_instance_health"
    await see(session, own, "gpu2", "answered 500 for beta:7b", health, instance="gpu2", state="suspect")
    await fault(session, own, "gpu2", "none")

    async def up() -> bool:
        return bool((await one(session, own, "gpu2"))["health"] == "up")

    await until(up, FOUND_WITHIN_S, "gpu2 up")


async def test_who_is_tried_again_and_fails_is_seen(own: Stack, session: aiohttp.ClientSession) -> None:
    """It was passed over: what fails there now goes around, and its client is served. There are more of these than the
    others have slots, or it would not be tried so soon.
    """
    _, victim = await ask(session, own, "alpha")
    await fault(session, own, victim, "wrong_status", status=503)

    async def client() -> None:
        while True:
            await ask(session, own, "alpha", tokens=300)

    async with asyncio.TaskGroup() as group:
        clients = [group.create_task(client()) for _ in range(12)]
        what, doubts = "passed over for a while: failed a request, which went elsewhere", "pointsman_instance_doubts"
        await see(session, own, victim, what, doubts, instance=victim, about="refusals", within_s=FIRST_S)
        for asking in clients:
            asking.cancel()
    await fault(session, own, victim, "none")


async def test_clients_that_do_not_wait_do_not_hide_who_hangs(own: Stack, session: aiohttp.ClientSession) -> None:
    """The model is pinned, so all go to the one that hangs."""
    victim, body = "gpu2", chat("gamma", stream=False, keep_alive=-1)
    async with session.post(f"{own.url}/api/chat", json=body) as answer:
        assert (answer.status, routed(answer)[0]) == (200, victim)

    async def loaded() -> bool:
        return "gamma:latest" in [model["model"] for model in (await one(session, own, victim))["loaded"]]

    async def impatient() -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LEAVES_AFTER_S), session.post(f"{own.url}/api/chat", json=body) as answer:
                await answer.read()

    async def clients() -> None:
        while True:
            await asyncio.gather(impatient(), impatient())

    await until(loaded, FOUND_WITHIN_S, "the model on the list")
    await fault(session, own, victim, "hang_before_first_byte")
    what, health = "left without an answer", "pointsman_instance_health"
    # The third of them leaves in the second round.
    within_s = 2 * LEAVES_AFTER_S + own.fleet.policies.health.probe_timeout
    async with asyncio.TaskGroup() as group:
        leaving = group.create_task(clients())
        await see(session, own, victim, what, health, within_s=within_s, instance=victim, state="suspect")
        leaving.cancel()
    await fault(session, own, victim, "none")
