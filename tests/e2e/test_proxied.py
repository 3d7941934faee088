"""Instances behind a proxy: TLS, a path, a name of its own. Requests, checks and polls reach them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio

from spoe_agent.rig.mitmproxy import MitmproxyStack
from spoe_agent.rig.process import Process, free_port
from spoe_agent.rig.stack import Stack
from spoe_agent.simulator.catalog import Catalog, Model
from spoe_agent.simulator.server import SimulatedOllama
from tests.e2e.conftest import chat, is_mitmproxy, routed, until
from tests.tls import Authority, proxied

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.both_fronts]

MODELS = ("alpha", "beta", "gamma", "delta")
GB = 10**9


@dataclass(frozen=True, slots=True)
class Rig:
    """A front for four Ollamas with a model each: behind TLS and a path, TLS, a path, and nothing."""

    stack: Stack
    ollamas: list[str]
    third: AsyncExitStack
    """Ends the third one's proxy."""


@asynccontextmanager
async def behind(binary: str, folder: Path) -> AsyncIterator[Rig]:
    authority, ollamas = Authority(folder), []
    ports = [free_port() for _ in MODELS]
    urls = [f"https://localhost:{ports[0]}/ollama", f"https://localhost:{ports[1]}", f"http://localhost:{ports[2]}/a/b"]
    async with AsyncExitStack() as stack, AsyncExitStack() as third:
        for name in MODELS:
            server = SimulatedOllama(catalog=Catalog([Model(name, GB)]), time_scale=100.0)
            ollamas.append(f"http://127.0.0.1:{await server.start()}")
            stack.push_async_callback(server.stop)
        tls = authority.server("localhost")
        for number, (prefix, context) in enumerate([("/ollama", tls), ("", tls), ("/a/b", None)]):
            passing = proxied(ollamas[number], ports[number], f"localhost:{ports[number]}", prefix, context)
            await (third if number == 2 else stack).enter_async_context(passing)
        urls.append(ollamas[3])
        document = {
            "defaults": {"ca_file": str(authority.file)},
            "instances": [{"name": f"gpu{number}", "url": url} for number, url in enumerate(urls)],
        }
        own = folder / "own.yaml"
        own.write_text(json.dumps(document))
        kind = MitmproxyStack if is_mitmproxy(binary) else Stack
        front = await stack.enter_async_context(kind(folder, binary, own=own))
        yield Rig(front, ollamas, third)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def rig(binary: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Rig]:
    async with behind(binary, tmp_path_factory.mktemp("proxied")) as running:
        yield running


@pytest.mark.parametrize("number", range(4))
@pytest.mark.parametrize("path", ["/api/chat", "/v1/chat/completions"])
async def test_a_model_that_one_instance_has_is_streamed_from_there(
    rig: Rig, session: aiohttp.ClientSession, number: int, path: str
) -> None:
    async with session.post(f"{rig.stack.url}{path}?x=1", json=chat(MODELS[number], stream=True)) as answer:
        assert answer.status == 200, await answer.text()
        assert routed(answer)[0] == f"gpu{number}"  # so the agent has read its list
        pieces = (await answer.text()).splitlines()
    assert len([piece for piece in pieces if piece]) > 2
    async with session.get(f"{rig.ollamas[number]}/sim/requests") as answer:
        seen = [one for one in (await answer.json())["requests"] if one["request_id"]]
    assert (seen[-1]["path"], seen[-1]["status"]) == (path, 200)
    noted = [name for name in seen[-1]["headers"] if name.startswith("x-pointsman-")]
    assert (noted == []) is (number < 3 or is_mitmproxy(rig.stack.binary)), "notes for another pass stay in HAProxy"


async def test_what_is_loaded_there_is_known(rig: Rig, session: aiohttp.ClientSession) -> None:
    async def loaded() -> bool:
        async with session.post(f"{rig.stack.url}/api/chat", json=chat("alpha", stream=False)) as answer:
            return answer.status == 200 and routed(answer) == ("gpu0", "loaded")

    await until(loaded, 20, "polls tell that the model is loaded")


@pytest.mark.haproxy
async def test_checks_find_them_up(rig: Rig, session: aiohttp.ClientSession) -> None:
    """Without the agent, every server that is up gets its turn."""
    stack = rig.stack
    await stack.agent.stop()
    try:

        async def found(number: int) -> bool:
            async with session.post(f"{stack.url}/api/chat", json=chat(MODELS[number], stream=False)) as answer:
                await answer.read()
                return routed(answer) == (f"gpu{number}", "fallback") and answer.status == 200

        for number in range(4):
            await until(lambda number=number: found(number), 20, f"gpu{number} gets a request")
    finally:
        await stack.agent.start()
        await stack.agent.ready(stack.agent_is_ready)
    await test_what_is_loaded_there_is_known(rig, session)


async def test_a_proxy_that_is_gone_is_told_in_the_callers_dialect(rig: Rig, session: aiohttp.ClientSession) -> None:
    stack = rig.stack
    await rig.third.aclose()
    for path, error in (("/api/chat", str), ("/v1/chat/completions", dict)):
        async with session.post(f"{stack.url}{path}", json=chat("gamma", stream=False)) as answer:
            assert answer.status in (502, 503)
            assert isinstance((await answer.json())["error"], error)
            assert "x-pointsman-unreached" not in answer.headers


@pytest.mark.haproxy
async def test_a_reload_of_haproxy_fails_nobody(rig: Rig, binary: str, session: aiohttp.ClientSession) -> None:
    """The new process takes over the ports on the way to the instances. Last of this rig: it ends with the test."""
    stack, statuses, is_over = rig.stack, [0, 0], asyncio.Event()

    async def client() -> None:
        while not is_over.is_set():
            async with session.post(f"{stack.url}/api/chat", json=chat("alpha", stream=False)) as answer:
                await answer.read()
                statuses[answer.status != 200] += 1

    config = stack.folder / "haproxy" / "haproxy.cfg"
    command = [binary, "-db", "-f", config, "-sf", str(stack.haproxy.pid)]
    async with Process("haproxy-2", command, stack.folder), asyncio.TaskGroup() as clients:
        for _ in range(4):
            clients.create_task(client())
        await stack.haproxy.wait()
        so_far = sum(statuses)

        async def has_served() -> bool:
            return sum(statuses) > so_far + 20

        await until(has_served, 20, "the new process serves")
        is_over.set()
    assert statuses[1] == 0


async def test_nobody_is_believed_whom_the_authority_did_not_sign(
    binary: str, session: aiohttp.ClientSession, tmp_path: Path
) -> None:
    ours, theirs = Authority(tmp_path), Authority(tmp_path, "theirs")
    port, ollama = free_port(), SimulatedOllama(catalog=Catalog([Model("alpha", GB)]))
    url = f"http://127.0.0.1:{await ollama.start()}"
    own = tmp_path / "own.yaml"
    instance = {"name": "gpu0", "url": f"https://localhost:{port}", "ca_file": str(ours.file)}
    own.write_text(json.dumps({"instances": [instance]}))
    kind = MitmproxyStack if is_mitmproxy(binary) else Stack
    async with (
        proxied(url, port, f"localhost:{port}", "", theirs.server("localhost")),
        kind(tmp_path, binary, own=own) as stack,
    ):
        async with session.post(f"{stack.url}/api/chat", json=chat("alpha", stream=False)) as answer:
            assert answer.status in (502, 503), await answer.text()
        async with session.get(f"{url}/sim/requests") as answer:
            assert [one["path"] for one in (await answer.json())["requests"]] == []
    await ollama.stop()
