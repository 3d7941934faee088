"""Lists are the whole fleet's, whatever the instances hold, and whoever is down."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from spoe_agent.rig.stack import Simulated, Stack
from tests.e2e.conftest import chat, is_mitmproxy, routed, stack_of, until

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.both_fronts]

DEADLINE_S = 30
SHARED = ("shared", (("alpha:latest", "4.7GB"), ("both:latest", "1GB")))
SOLO = ("solo", (("beta:latest", "4.7GB"), ("both:latest", "1GB")))
ALL = {"alpha:latest", "beta:latest", "both:latest"}
SETTINGS = {"policies": {"poll": {"tags_interval": "1h"}}}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def own(binary: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """Two instances on one store and a third on its own; lists are read when somebody asks, else once an hour."""
    simulated = Simulated(
        instances=3, num_parallel=1, max_loaded_models=2, time_scale=20.0, stores=(SHARED, SHARED, SOLO)
    )
    async with stack_of(binary, tmp_path_factory.mktemp("lists"), simulated, SETTINGS) as running:
        yield running


async def listed(session: aiohttp.ClientSession, stack: Stack, path: str) -> tuple[tuple[str, str], str, Any]:
    """Return who answered and why, the media type, and the list."""
    async with session.get(stack.url + path) as answer:
        assert answer.status == 200, await answer.text()
        return routed(answer), answer.headers["Content-Type"], await answer.json()


def names(body: dict[str, Any]) -> list[str]:
    return [model["name"] for model in body["models"]]


DOOR = ("-", "list")


async def test_every_model_is_listed_once_and_in_the_same_order(own: Stack, session: aiohttp.ClientSession) -> None:
    first = await listed(session, own, "/api/tags")
    assert first[:2] == (DOOR, "application/json; charset=utf-8")
    assert sorted(names(first[2])) == sorted(ALL)
    assert [await listed(session, own, "/api/tags") for _ in range(5)] == [first] * 5
    who, media_type, models = await listed(session, own, "/v1/models")
    assert (who, media_type) == (DOOR, "application/json")
    assert [model["id"] for model in models["data"]] == names(first[2])
    assert (await listed(session, own, "/api/version"))[2] == {"version": "0.33.0"}


async def test_the_entries_are_ollamas_own(own: Stack, session: aiohttp.ClientSession) -> None:
    async with session.get(f"{own.fleet.instances[2].url}/api/tags") as answer:
        theirs = {model["name"]: model for model in (await answer.json())["models"]}
    _, _, body = await listed(session, own, "/api/tags")
    assert {model["name"]: model for model in body["models"] if model["name"] in theirs} == theirs


@pytest.mark.parametrize(("model", "where"), [("alpha", {"gpu0", "gpu1"}), ("beta", {"gpu2"}), ("both:latest", None)])
async def test_one_model_is_described_where_it_is(
    own: Stack, session: aiohttp.ClientSession, model: str, where: set[str] | None
) -> None:
    for _ in range(3):
        async with session.get(f"{own.url}/v1/models/{model}") as answer:
            assert (answer.status, (await answer.json())["id"]) == (200, model)
            assert routed(answer)[0] in (where or {"gpu0", "gpu1", "gpu2"})
        async with session.post(f"{own.url}/api/show", json={"model": model}) as answer:
            assert (answer.status, routed(answer)[1]) == (200, "describe")
            assert routed(answer)[0] in (where or {"gpu0", "gpu1", "gpu2"})
    async with session.get(f"{own.url}/v1/models/nobody") as answer:
        assert (answer.status, (await answer.json())["error"]["type"]) == (404, "not_found_error")


async def test_every_copy_that_is_loaded_is_listed_with_its_instance(
    own: Stack, session: aiohttp.ClientSession
) -> None:
    for name in ("alpha", "beta"):
        async with session.post(f"{own.url}/api/chat", json=chat(name, stream=False)) as answer:
            assert answer.status == 200, await answer.text()

    async def both() -> bool:
        _, _, body = await listed(session, own, "/api/ps")
        return {(model["name"], model["instance"] == "gpu2") for model in body["models"]} == {
            ("alpha:latest", False),
            ("beta:latest", True),
        }

    await until(both, DEADLINE_S, "both are listed")


async def test_long_headers_and_queries_are_taken(own: Stack, session: aiohttp.ClientSession) -> None:
    """Go takes a megabyte of headers; a key goes no further than the front."""
    headers = {"Authorization": f"Bearer {'x' * 20_000}"}
    async with session.get(f"{own.url}/api/tags", headers=headers) as answer:
        assert (answer.status, routed(answer)) == (200, DOOR)
    async with session.get(f"{own.url}/api/tags?x=1") as answer:
        assert answer.status == 200
        assert len((await answer.json())["models"]) == len(ALL)


async def test_what_changes_past_the_front_is_seen(own: Stack, session: aiohttp.ClientSession) -> None:
    url = own.fleet.instances[2].url
    async with session.post(f"{url}/api/copy", json={"source": "beta", "destination": "new"}) as answer:
        assert answer.status == 200

    async def is_listed() -> bool:
        return "new:latest" in names((await listed(session, own, "/api/tags"))[2])

    await until(is_listed, DEADLINE_S, "the new model is listed")
    async with session.delete(f"{url}/api/delete", json={"model": "new"}) as answer:
        assert answer.status == 200

    async def is_gone() -> bool:
        return not await is_listed()

    await until(is_gone, DEADLINE_S, "the deleted model is listed no more")


@pytest.mark.haproxy
@pytest.mark.parametrize("fate", [signal.SIGSTOP, signal.SIGKILL])
async def test_without_the_agent_an_instance_answers(
    own: Stack, session: aiohttp.ClientSession, fate: signal.Signals
) -> None:
    """At once and later, whether it is gone or hangs; and the agent again when it is back."""
    if is_mitmproxy(own.binary):
        return
    own.agent.signal(fate)
    for _ in range(20):
        (who, _), _, body = await listed(session, own, "/api/tags")
        assert who != "-" and "both:latest" in names(body)
    if fate is signal.SIGSTOP:
        own.agent.signal(signal.SIGCONT)
    else:
        await own.agent.wait()
        await own.agent.start()

    async def is_back() -> bool:
        return (await listed(session, own, "/api/tags"))[0] == DOOR

    await until(is_back, DEADLINE_S, "the agent writes lists again")
    assert sorted(names((await listed(session, own, "/api/tags"))[2])) == sorted(ALL)


async def test_where_nobody_is_up_there_are_no_lists(own: Stack, session: aiohttp.ClientSession) -> None:
    """As there are none from an Ollama that is down: whoever checks health must see that."""
    for process in own.ollamas:
        process.signal(signal.SIGKILL)
        await process.wait()

    async def are_down() -> bool:
        async with session.get(f"{own.url}/api/tags") as answer:
            return (answer.status, "Retry-After" in answer.headers) == (503, True)

    async def are_back() -> bool:
        async with session.get(f"{own.url}/api/tags") as answer:
            return answer.status == 200

    try:
        await until(are_down, DEADLINE_S, "all are known to be down")
    finally:
        for process in own.ollamas:
            await process.start()
    await until(are_back, DEADLINE_S, "they are back")


async def test_models_of_an_instance_that_is_down_stay_listed_but_not_as_loaded(
    own: Stack, session: aiohttp.ClientSession
) -> None:
    process = own.ollamas[2]
    process.signal(signal.SIGKILL)
    await process.wait()

    async def is_not_loaded() -> bool:
        async with session.get(f"{own.url}/api/ps") as answer:
            # 503 while the other two, which are back from the test before, have not been asked yet.
            models = (await answer.json())["models"] if answer.status == 200 else [{"instance": "gpu2"}]
        return "gpu2" not in {model["instance"] for model in models}

    try:
        await until(is_not_loaded, DEADLINE_S, "nothing is loaded where nobody answers")
        assert sorted(names((await listed(session, own, "/api/tags"))[2])) == sorted(ALL)
    finally:
        await process.start()
