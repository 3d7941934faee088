"""Changes of several model stores at once: two stores, one of them failing, one down; said where it is not done.

One store has two instances, which stand in for each other; the other one has one.
"""

from __future__ import annotations

import asyncio
import json
import signal
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from yarl import URL

from spoe_agent.rig.process import accepts
from spoe_agent.rig.stack import Simulated, Stack
from tests.e2e.conftest import routed, seen_by, stack_of, until
from tests.e2e.operator import fault
from tests.e2e.test_clients import use
from tests.e2e.test_restart import restart, successors

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.both_fronts]

DEADLINE_S = 30
BASE = (("alpha:latest", "4.7GB"), ("old:latest", "1GB"))
OF_OLD = {name for name, _ in BASE}
SETTINGS = {
    "policies": {"poll": {"tags_interval": "1h"}},
    "models": [{"match": "llama3.2:1b", "instances": ["gpu2"]}],
}
DATA = b"weights" * 300_000
OTHER = DATA[1:]
DIGEST, OTHER_DIGEST = (f"sha256:{sha256(data).hexdigest()}" for data in (DATA, OTHER))
SUCCESS = {"status": "success"}
FULL = "write /root/.ollama/models/blobs/sha256-0: no space left on device"


async def test_a_file_and_what_is_made_of_it_reach_the_same_stores(own: Stack, session: aiohttp.ClientSession) -> None:
    data = DATA[2:]
    digest = f"sha256:{sha256(data).hexdigest()}"
    for method, body, status in (("HEAD", None, 404), ("POST", data, 201), ("HEAD", None, 200), ("POST", data, 200)):
        assert (await change(session, own, method, f"/api/blobs/{digest}", body))[0] == status
    made = {"model": "mine", "files": {"m.gguf": digest}, "stream": False}
    assert await change(session, own, "POST", "/api/create", **made) == (200, [SUCCESS])
    assert await models(session, own) == [{"mine:latest"}] * 2
    # A model that is pinned to one store is made there, of the file that all have.
    async with session.post(f"{own.url}/api/create", json={**made, "model": "llama3.2:1b"}) as answer:
        assert (answer.status, routed(answer)[0]) == (200, "gpu2")
    assert await models(session, own) == [{"mine:latest"}, {"mine:latest", "llama3.2:1b"}]


async def test_a_client_that_leaves_takes_its_pulls_with_it(own: Stack, session: aiohttp.ClientSession) -> None:
    async with session.post(f"{own.url}/api/pull", json={"model": "llama3.3:70b"}) as answer:
        await answer.content.readline()
        answer.close()

    async def given_up() -> bool:
        seen = [it for number in (0, 2) for it in await seen_by(session, own, number) if it["model"] == "llama3.3:70b"]
        # The client may leave before the other store was asked, or had read that it was.
        return {it["status"] for it in seen} == {499}

    await until(given_up, DEADLINE_S, "what was begun is given up")
    assert await models(session, own) == [set(), set()]


async def test_a_page_of_a_foreign_origin_changes_nothing(own: Stack, session: aiohttp.ClientSession) -> None:
    headers = {"Origin": "https://evil.example"}
    async with session.delete(f"{own.url}/api/delete", json={"model": "alpha"}, headers=headers) as answer:
        assert answer.status == 403
    async with session.get(f"{own.url}/api/tags") as answer:
        assert {model["name"] for model in (await answer.json())["models"]} >= OF_OLD


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def own(binary: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """gpu0 and gpu1 on one store, gpu2 on its own; a pull takes half a second."""
    stores = (("shared", BASE), ("shared", BASE), ("solo", BASE))
    simulated = Simulated(instances=3, time_scale=100.0, stores=stores)
    async with stack_of(binary, tmp_path_factory.mktemp("management"), simulated, SETTINGS) as running:
        yield running


async def change(
    session: aiohttp.ClientSession, stack: Stack, method: str, path: str, data: bytes | None = None, **body: object
) -> tuple[int, list[Any]]:
    """Ask the door for a change; return status and lines of the answer."""
    asked = aiohttp.JsonPayload(body) if data is None else BytesIO(data)
    async with session.request(method, stack.url + path, data=asked) as answer:
        assert routed(answer) == ("-", "manage")
        return answer.status, [json.loads(line) for line in (await answer.text()).splitlines()]


async def models(session: aiohttp.ClientSession, stack: Stack) -> list[set[str]]:
    """Return the models of each store, but for those that were there from the first."""
    found = []
    for instance in stack.fleet.instances[1:]:
        async with session.get(f"{instance.url}/api/tags") as answer:
            found.append({model["name"] for model in (await answer.json())["models"]} - OF_OLD)
    return found


async def runs(session: aiohttp.ClientSession, stack: Stack, model: str) -> bool:
    body = {"model": model, "prompt": "x", "stream": False, "options": {"num_predict": 1}}
    async with session.post(f"{stack.url}/api/generate", json=body) as answer:
        await answer.read()
        return answer.status == 200


@pytest_asyncio.fixture(loop_scope="module", autouse=True)
async def emptied(own: Stack, session: aiohttp.ClientSession) -> AsyncIterator[None]:
    """Leave every store as it was."""
    yield
    for instance in own.fleet.instances[1:]:
        async with session.get(f"{instance.url}/api/tags") as answer:
            names = {model["name"] for model in (await answer.json())["models"]} - OF_OLD
        for name in names:
            async with session.delete(f"{instance.url}/api/delete", json={"model": name}):
                pass


@asynccontextmanager
async def down(stack: Stack, number: int) -> AsyncIterator[None]:
    """Have an instance killed meanwhile, and started again."""
    process, instance = stack.ollamas[number], stack.fleet.instances[number]
    process.signal(signal.SIGKILL)
    await process.wait()
    try:
        yield
    finally:
        await process.start()
        await process.ready(partial(accepts, instance.host, instance.port))


async def error(session: aiohttp.ClientSession, stack: Stack) -> str:
    """Return what is said of a pull that cannot be: it tells which stores the agent takes to be down."""
    _, (said,) = await change(session, stack, "POST", "/api/pull", model="nobody", stream=False)
    return str(said["error"])


async def test_a_pull_reaches_every_store_and_is_served_at_once(own: Stack, session: aiohttp.ClientSession) -> None:
    status, lines = await change(session, own, "POST", "/api/pull", model="mistral:7b")
    assert (status, lines[0], lines[-1]) == (200, {"status": "pulling manifest"}, SUCCESS)
    assert await models(session, own) == [{"mistral:7b"}] * 2
    await until(lambda: runs(session, own, "mistral:7b"), DEADLINE_S, "it is served")
    assert await change(session, own, "POST", "/api/pull", model="mistral:7b", stream=False) == (200, [SUCCESS])


@pytest.mark.parametrize("data", [zlib.compress(b'{"model":"old"}'), b"not packed"], ids=["packed", "not packed"])
async def test_a_packed_body_is_for_ollama_to_refuse(own: Stack, session: aiohttp.ClientSession, data: bytes) -> None:
    for method, path in (("DELETE", "/api/delete"), ("POST", "/api/pull")):
        headers = {"Content-Encoding": "deflate"}
        async with session.request(method, own.url + path, data=BytesIO(data), headers=headers) as answer:
            assert (answer.status, routed(answer)) == (400, ("-", "manage"))
            assert (await answer.json())["error"].startswith("invalid character")


@pytest.mark.parametrize("name", ["x%20y", "%C3%A4", "x%2Fy"])
async def test_a_change_reaches_ollama_by_its_path_as_it_came(
    own: Stack, session: aiohttp.ClientSession, name: str
) -> None:
    url = URL(f"{own.url}/api/blobs/{name}", encoded=True)
    async with session.post(url, data=BytesIO(b"x")) as answer:
        assert (answer.status, routed(answer)) == (400, ("-", "manage"))
        assert "error" in await answer.json()
    assert "Server" not in answer.headers


async def test_the_python_client(own: Stack, tmp_path: Path) -> None:
    file = tmp_path / "m.gguf"
    file.write_bytes(DATA)
    got = await use("use_ollama_store.py", own.url, str(file))
    assert got == {
        "statuses": ["pulling manifest", "verifying sha256 digest", "writing manifest", "success"],
        "bars": 2,
        "digests": 2,
        "rises": True,
        "ends": 2,
        "again": "success",
        "made": "success",
        "models": ["alpha:latest", "mine:latest", "mistral:7b", "old:latest"],
        "missing": [
            [404, "model 'twin' not found"],
            [500, "pull model manifest: file does not exist"],
            [-1, "pull model manifest: file does not exist"],
        ],
    }


async def test_a_full_store_is_said_and_the_other_goes_on(own: Stack, session: aiohttp.ClientSession) -> None:
    told = f"not in every model store: gpu2: {FULL}; done in that of gpu0"
    await fault(session, own, "gpu2", "full_disk")
    try:
        status, lines = await change(session, own, "POST", "/api/pull", model="mistral:7b")
        assert (status, lines[-1], SUCCESS in lines) == (200, {"error": told}, False)
        assert {"status": f"not in gpu2: {FULL}; the others go on"} in lines
        pulled = await change(session, own, "POST", "/api/pull", model="gemma3:4b", stream=False)
        copied = await change(session, own, "POST", "/api/copy", source="alpha", destination="twin")
        assert pulled == copied == (500, [{"error": told}])
        assert await change(session, own, "POST", f"/api/blobs/{OTHER_DIGEST}", OTHER) == (201, [])
        made = {"model": "mine", "files": {"m.gguf": OTHER_DIGEST}}
        _, lines = await change(session, own, "POST", "/api/create", **made)
        assert lines[-1]["error"].startswith("not in every model store: gpu2: open ")
        assert lines[-1]["error"].endswith("; done in that of gpu0")
        all_four = {"mistral:7b", "gemma3:4b", "twin:latest", "mine:latest"}
        assert await models(session, own) == [all_four, set()]
        for name in all_four:
            await until(lambda name=name: runs(session, own, name), DEADLINE_S, f"{name} is served")  # type: ignore[misc]
            assert await change(session, own, "DELETE", "/api/delete", model=name) == (200, [])
    finally:
        await fault(session, own, "gpu2", "none")


async def test_a_store_with_nobody_up_is_said(own: Stack, session: aiohttp.ClientSession) -> None:
    async with down(own, 2):

        async def is_known() -> bool:
            # As long as it is not, the door finds out: connection refused.
            return "connection refused" not in await error(session, own)

        await until(is_known, DEADLINE_S, "gpu2 is known to be down")
        _, lines = await change(session, own, "POST", "/api/pull", model="mistral:7b")
        async with session.delete(f"{own.url}/api/delete", json={"model": "old"}) as answer:
            assert (answer.status, routed(answer), answer.headers["Retry-After"]) == (503, ("-", "manage"), "5")
            said = await answer.json()
        for told in (lines[-1]["error"], said["error"]):
            assert told.startswith("not in every model store: gpu2: no Ollama instance is up (")
            assert told.endswith("; done in that of gpu0")
        # It never had this one: nobody need be asked but the other store, by one of the two that has listed it.
        async with session.delete(f"{own.url}/api/delete", json={"model": "mistral:7b"}) as answer:
            assert (answer.status, routed(answer)[0] in ("gpu0", "gpu1")) == (200, True)
        assert await change(session, own, "POST", f"/api/blobs/{DIGEST}", DATA) in ((200, []), (201, []))
    assert await models(session, own) == [set(), set()]

    async def is_back() -> bool:
        return await error(session, own) == "pull model manifest: file does not exist"

    await until(is_back, DEADLINE_S, "gpu2 is known to be up")
    assert await change(session, own, "DELETE", "/api/delete", model="old") == (200, [])
    assert (await change(session, own, "DELETE", "/api/delete", model="old"))[0] == 404


async def test_who_shares_the_store_stands_in(own: Stack, session: aiohttp.ClientSession) -> None:
    async with down(own, 0):
        _, lines = await change(session, own, "POST", "/api/pull", model="mistral:7b")
        assert lines[-1] == SUCCESS
    assert await models(session, own) == [{"mistral:7b"}] * 2


@pytest.mark.haproxy
async def test_a_pull_outlives_a_pause_of_the_agent(own: Stack, session: aiohttp.ClientSession) -> None:
    """In which HAProxy takes it to be dead: the next request is decided without it."""

    async def decided(reason: str) -> bool:
        async with session.post(f"{own.url}/api/show", json={"model": "alpha"}) as answer:
            return routed(answer)[1] == reason

    async with asyncio.timeout(DEADLINE_S), session.post(f"{own.url}/api/pull", json={"model": "gemma2:27b"}) as answer:
        await answer.content.readline()
        own.agent.signal(signal.SIGSTOP)
        try:
            await until(lambda: decided("fallback"), DEADLINE_S, "the agent is taken to be dead")
            async with session.get(f"{own.url}/api/tags") as listed:
                assert routed(listed)[0] != "-"
        finally:
            own.agent.signal(signal.SIGCONT)
        lines = (await answer.text()).splitlines()
    assert json.loads(lines[-1]) == SUCCESS
    await until(lambda: decided("describe"), DEADLINE_S, "the agent decides again")


@pytest.mark.haproxy
async def test_a_pull_outlives_a_restart_of_the_agent(own: Stack, session: aiohttp.ClientSession) -> None:
    async with successors(own):
        async with (
            asyncio.timeout(DEADLINE_S),
            session.post(f"{own.url}/api/pull", json={"model": "gemma2:27b"}) as answer,
        ):
            assert routed(answer) == ("-", "manage")
            await answer.content.readline()
            code, said = await restart(session, own)
            assert code == 200, said
            lines = (await answer.text()).splitlines()
        assert json.loads(lines[-1]) == SUCCESS
        assert await models(session, own) == [{"gemma2:27b"}] * 2
        await until(lambda: runs(session, own, "gemma2:27b"), DEADLINE_S, "it is served")
        assert (await change(session, own, "POST", "/api/copy", source="alpha", destination="twin"))[0] == 200
