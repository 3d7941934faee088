"""Pulls, copies, uploads and deletions through the front, with stores that instances share and stores of their own.

Lists are polled once an hour here: what is known sooner was learned from the requests themselves.
"""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from spoe_agent.rig.stack import Simulated, Stack
from tests.e2e.conftest import chat, is_mitmproxy, routed, stack_of, until
from tests.e2e.eyes import see
from tests.e2e.operator import one

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.both_fronts]

DEADLINE_S = 30
FEW = 5
"""Tries within a second, each of which waits for lists; with none read there would be dozens."""
SHARED = ("shared", (("alpha:latest", "4.7GB"),))
SOLO = ("solo", (("beta:latest", "4.7GB"),))
SETTINGS = {
    "policies": {"poll": {"tags_interval": "1h"}},
    "models": [{"match": "llama3.2:1b", "instances": ["gpu2"]}],
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def own(binary: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """Two instances on one store and a third on its own, one request at a time each; pulls take seconds."""
    stores = (SHARED, SHARED, SOLO)
    simulated = Simulated(instances=3, num_parallel=1, max_loaded_models=1, time_scale=20.0, stores=stores)
    async with stack_of(binary, tmp_path_factory.mktemp("store"), simulated, SETTINGS) as running:
        yield running


async def change(
    session: aiohttp.ClientSession, stack: Stack, method: str, path: str, **body: object
) -> tuple[int, str, Any]:
    """Ask for a change; return status, instance, and the last line of what was answered."""
    async with session.request(method, stack.url + path, json=body) as answer:
        lines = (await answer.text()).splitlines()
        return answer.status, routed(answer)[0], json.loads(lines[-1]) if lines else None


async def generate(session: aiohttp.ClientSession, stack: Stack, model: str) -> tuple[int, str]:
    """Ask for a token; return status and instance, "-" for an answer at the door."""
    body = {"model": model, "prompt": "x", "stream": False, "options": {"num_predict": 1}}
    async with session.post(f"{stack.url}/api/generate", json=body) as answer:
        await answer.read()
        return answer.status, routed(answer)[0]


async def models(session: aiohttp.ClientSession, stack: Stack, number: int) -> set[str]:
    """Return what an instance lists."""
    async with session.get(f"{stack.fleet.instances[number].url}/api/tags") as answer:
        return {model["name"] for model in (await answer.json())["models"]}


SUCCESS = {"status": "success"}


async def test_changes_reach_the_store_that_has_the_model(own: Stack, session: aiohttp.ClientSession) -> None:
    """And each is known as soon as it is done."""
    assert await change(session, own, "POST", "/api/copy", source="beta", destination="copied") == (200, "-", None)
    assert await known(session, own, "copied") == "gpu2"
    assert await change(session, own, "POST", "/api/create", model="made", **{"from": "copied"}) == (
        200,
        "gpu2",
        SUCCESS,
    )
    assert await known(session, own, "made") == "gpu2"
    assert await change(session, own, "POST", "/api/push", model="made", stream=False) == (200, "gpu2", SUCCESS)
    for name in ("made", "copied"):
        assert await change(session, own, "DELETE", "/api/delete", model=name) == (200, "-", None)
        await known_to_be_gone(session, own, name)
    assert await change(session, own, "DELETE", "/api/delete", name="made") == (
        404,
        "-",
        {"error": "model 'made' not found"},
    )


async def known(session: aiohttp.ClientSession, stack: Stack, model: str) -> str:
    """Wait until a new model is served; return where. On a busy machine the lists may come too late for the first: it
    is told to try again, not that there is no such model.
    """
    status, where = await generate(session, stack, model)
    assert status in (200, 503)

    async def is_served() -> bool:
        nonlocal status, where
        if status != 200:
            status, where = await generate(session, stack, model)
        return status == 200

    await until(is_served, DEADLINE_S, f"{model} is served")
    return where


async def known_to_be_gone(session: aiohttp.ClientSession, stack: Stack, model: str) -> None:
    """Until the log line of the deletion has come, an instance may be asked; after it, none."""

    async def at_the_door() -> bool:
        return await generate(session, stack, model) == (404, "-")

    await until(at_the_door, DEADLINE_S, f"{model} is known to be gone")


async def test_what_was_unknown_is_served_as_soon_as_it_is_made(own: Stack, session: aiohttp.ClientSession) -> None:
    """Who was told 404 looks at the lists again at most once a second, but not past a change of the store."""
    assert (await generate(session, own, "young"))[0] == 404
    made = {"model": "young", "from": "beta", "stream": False}
    assert await change(session, own, "POST", "/api/create", **made) == (200, "gpu2", SUCCESS)
    refused = 0
    while (await generate(session, own, "young"))[0] == 404:
        refused += 1
        assert refused < FEW
    assert await change(session, own, "DELETE", "/api/delete", model="young") == (200, "-", None)
    await known_to_be_gone(session, own, "young")


async def test_a_pull_goes_where_the_model_is_pinned(own: Stack, session: aiohttp.ClientSession) -> None:
    assert await change(session, own, "POST", "/api/pull", model="llama3.2:1b") == (200, "gpu2", SUCCESS)
    assert await known(session, own, "llama3.2:1b") == "gpu2"


async def test_a_shared_store_is_written_by_one(own: Stack, session: aiohttp.ClientSession) -> None:
    made = {"model": "twin", "from": "alpha", "stream": False}
    assert await change(session, own, "POST", "/api/create", **made) == (200, "gpu0", SUCCESS)
    assert "twin:latest" in await models(session, own, 1)
    # Until all of the store list it, the push comes from one that does.
    status, where, _ = await change(session, own, "POST", "/api/push", model="twin")
    assert (status, where in ("gpu0", "gpu1")) == (200, True)
    assert await change(session, own, "DELETE", "/api/delete", model="twin") == (200, "-", None)


async def test_a_model_deleted_past_the_front(own: Stack, session: aiohttp.ClientSession) -> None:
    """One request may be told 404 by the instance; by that the agent learns of it."""
    assert await change(session, own, "POST", "/api/copy", source="beta", destination="fleeting") == (200, "-", None)
    assert await known(session, own, "fleeting") == "gpu2"
    url = own.fleet.instances[2].url
    async with session.delete(f"{url}/api/delete", json={"model": "fleeting"}) as answer:
        assert answer.status == 200
    assert await generate(session, own, "fleeting") == (404, "gpu2")
    await known_to_be_gone(session, own, "fleeting")


async def test_pulls_and_lists_take_no_slot(own: Stack, session: aiohttp.ClientSession) -> None:
    """With one slot each and all of them taken by long answers, two pulls go on side by side, and lists answer."""
    async with asyncio.timeout(DEADLINE_S):
        streams = [
            await session.post(f"{own.url}/api/chat", json=chat(name, options={"num_predict": 100_000}))
            for name in ("alpha", "alpha", "beta")
        ]
        assert {routed(stream)[0] for stream in streams} == {"gpu0", "gpu1", "gpu2"}
        pulls = [
            await session.post(f"{own.url}/api/pull", json={"model": name}) for name in ("mistral:7b", "gemma3:4b")
        ]
        for pull in pulls:
            assert json.loads(await pull.content.readline()) == {"status": "pulling manifest"}
            assert routed(pull) == ("-", "manage")
        for method, path in (("HEAD", "/"), ("GET", "/api/version"), ("GET", "/api/tags"), ("GET", "/api/ps")):
            async with session.request(method, own.url + path) as answer:
                assert answer.status == 200, path
        async with session.post(f"{own.url}/api/show", json={"model": "alpha"}) as answer:
            assert answer.status == 200
    for response in (*streams, *pulls):
        response.close()


async def test_a_server_that_starts_without_its_store_is_waited_for(own: Stack, session: aiohttp.ClientSession) -> None:
    """Its store is on another host, say, and comes later: until then its models are not unknown."""
    mounted, away = own.folder / "stores" / "solo", own.folder / "away"
    process = own.ollamas[2]

    async def answers(status: int, reason: str = "") -> bool:
        body = {"model": "beta", "prompt": "x", "stream": False, "options": {"num_predict": 1}}
        async with session.post(f"{own.url}/api/generate", json=body) as answer:
            await answer.read()
            assert answer.status != 404
            assert (answer.status == 503) is ("retry-after" in answer.headers)
            return answer.status == status and reason in routed(answer)[1]

    async def seen(what: str, reason: str) -> None:
        if not is_mitmproxy(own.binary):
            await see(session, own, "", what, "pointsman_decisions_total", reason=reason)

    process.signal(signal.SIGKILL)
    await process.wait()
    mounted.rename(away)
    mounted.mkdir()
    try:
        await until(lambda: answers(503, "no instance up"), DEADLINE_S, "gpu2 takes nothing")
        await until(lambda: _is_down(session, own, "gpu2"), DEADLINE_S, "gpu2 is known to be down")
        assert await answers(503, "no instance up")
        await seen("no instance that has beta:latest is up", "no instance up")
        await process.start()
        await until(lambda: answers(503, "no lists yet"), DEADLINE_S, "gpu2 has come up empty")
        await seen("an instance has just started, and perhaps has beta:latest", "no lists yet")
    finally:
        mounted.rmdir()
        away.rename(mounted)
    # The agent may have loaded it by itself before: it was loaded when the instance was killed.
    await until(lambda: answers(200), DEADLINE_S, "gpu2 has its store again")


async def _is_down(session: aiohttp.ClientSession, own: Stack, name: str) -> bool:
    """Tell whether the agent knows. mitmproxy has no status: there it finds out by itself that nobody listens."""
    return is_mitmproxy(own.binary) or (await one(session, own, name))["health"] == "down"


@pytest.mark.haproxy
async def test_without_the_agent_one_instance_makes_all_changes(own: Stack, session: aiohttp.ClientSession) -> None:
    own.agent.signal(signal.SIGKILL)
    await own.agent.wait()
    try:
        for _ in range(4):
            async with session.post(f"{own.url}/api/copy", json={"source": "alpha", "destination": "late"}) as answer:
                assert (answer.status, routed(answer)) == (200, ("gpu0", "fallback"))
    finally:
        await own.agent.start()
