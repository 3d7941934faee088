"""Probes of load balancers and of clients, and a front below a path."""

from __future__ import annotations

import json
import signal
from collections.abc import AsyncIterator

import aiohttp
import pytest
import pytest_asyncio
from yarl import URL

from spoe_agent.rig.stack import Simulated, Stack
from tests.e2e.conftest import chat, is_mitmproxy, routed, stack_of, until
from tests.e2e.operator import by_hand

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.both_fronts]

MODELS = (("alpha:latest", "4.7GB"),)
DEADLINE_S = 30.0


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def below(binary: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """Two instances behind a front below a path."""
    settings = {"listeners": {"prefix": "/llm/ollama"}}
    simulated = Simulated(instances=2, models=MODELS)
    async with stack_of(binary, tmp_path_factory.mktemp("below"), simulated, settings) as running:
        yield running


def root(stack: Stack) -> str:
    return f"http://127.0.0.1:{stack.fleet.listeners.front.port}"


async def got(session: aiohttp.ClientSession, url: str | URL, method: str = "GET") -> tuple[int, str]:
    async with session.request(method, url, allow_redirects=False) as answer:
        return answer.status, await answer.text()


async def test_probes(stack: Stack, session: aiohttp.ClientSession) -> None:
    for path in ("/healthz", "/readyz", "/healthz?from=kube"):
        assert await got(session, stack.url + path) == (200, "ok\n")
        assert await got(session, stack.url + path, "HEAD") == (200, "")
    assert await got(session, stack.url) == (200, "Ollama is running")
    assert await got(session, stack.url, "HEAD") == (200, "")


@pytest.mark.haproxy
async def test_probes_are_not_logged(stack: Stack, session: aiohttp.ClientSession) -> None:
    await got(session, f"{stack.url}/healthz")
    async with session.get(f"{stack.url}/api/version", headers={"X-Request-Id": "behind-the-probes"}):
        pass

    def paths() -> list[str]:
        lines = stack.haproxy.output.read_text().splitlines()
        return [json.loads(line)["path"] for line in lines if line.startswith("{")]

    async def is_logged() -> bool:
        return "behind-the-probes" in stack.haproxy.output.read_text()

    await until(is_logged, DEADLINE_S, "the request behind them is logged")
    assert not {"/healthz", "/readyz"} & set(paths())


async def test_ollamas_paths_are_below_the_prefix(below: Stack, session: aiohttp.ClientSession) -> None:
    async with session.post(f"{below.url}/api/chat?x=1", json=chat("alpha", stream=False)) as answer:
        assert (answer.status, routed(answer)[0] in ("gpu0", "gpu1")) == (200, True)
    async with session.get(f"{below.url}/api/tags") as answer:
        assert [model["name"] for model in (await answer.json())["models"]] == ["alpha:latest"]
    async with session.post(f"{below.url}/v1/chat/completions", json=chat("nobody")) as answer:
        assert (answer.status, (await answer.json())["error"]["type"]) == (404, "not_found_error")
    for url in (below.url, f"{below.url}/"):
        assert await got(session, url) == (200, "Ollama is running")
    for url in (root(below), below.url):
        for path in ("/healthz", "/readyz"):
            assert await got(session, url + path) == (200, "ok\n")


async def test_what_is_only_like_a_probe_is_ollamas(stack: Stack, below: Stack, session: aiohttp.ClientSession) -> None:
    own, prefix = URL(f"{stack.url}/%68ealthz", encoded=True), "/llm/ollama"
    for url in (own, f"{below.url}{prefix}/healthz", f"{below.url}{prefix}/readyz"):
        assert (await got(session, url))[0] == 404, url


@pytest.mark.haproxy
async def test_where_ollama_redirects_to_is_below_it_too(below: Stack, session: aiohttp.ClientSession) -> None:
    async with session.post(f"{below.url}/api/chat/", json=chat("alpha"), allow_redirects=False) as answer:
        assert (answer.status, answer.headers["Location"]) == (307, "/llm/ollama/api/chat")


TOLD = "there is nothing here: the paths of Ollama are below /llm/ollama/"


@pytest.mark.parametrize("path", ["/", "/api/tags", "/llm/ollamas/api/tags", "/llm", "/llm/ollama%2Fapi/tags"])
async def test_nothing_is_beside_it(below: Stack, session: aiohttp.ClientSession, path: str) -> None:
    status, said = await got(session, root(below) + path)
    assert (status, json.loads(said)) == (404, {"error": TOLD})


async def test_the_dialect_is_kept_beside_it(below: Stack, session: aiohttp.ClientSession) -> None:
    async with session.post(f"{root(below)}/v1/chat/completions", json=chat("alpha")) as answer:
        expected = {"message": TOLD, "type": "not_found_error", "param": None, "code": None}
        assert (answer.status, await answer.json()) == (404, {"error": expected})


@pytest.mark.haproxy
async def test_who_is_drained_is_not_ready(below: Stack, session: aiohttp.ClientSession) -> None:
    async def is_ready() -> bool:
        return await got(session, f"{below.url}/readyz") == (200, "ok\n")

    async def is_not_ready() -> bool:
        return not await is_ready()

    for name in ("gpu0", "gpu1"):
        assert await is_ready()
        await by_hand(session, below, name, "drain")
    await until(is_not_ready, DEADLINE_S, "all are drained")
    for name in ("gpu0", "gpu1"):
        await by_hand(session, below, name, "ready")
    await until(is_ready, DEADLINE_S, "they are back")


async def test_ready_is_who_has_an_instance_that_can_serve(below: Stack, session: aiohttp.ClientSession) -> None:
    """Also without the agent: HAProxy asks itself."""
    if not is_mitmproxy(below.binary):
        below.agent.signal(signal.SIGKILL)
        await below.agent.wait()
    assert await got(session, f"{below.url}/readyz") == (200, "ok\n")
    for process in below.ollamas:
        process.signal(signal.SIGKILL)
        await process.wait()

    async def is_not_ready() -> bool:
        async with session.get(f"{below.url}/readyz") as answer:
            return (answer.status, "Retry-After" in answer.headers) == (503, True)

    await until(is_not_ready, DEADLINE_S, "nobody can serve")
    assert await got(session, f"{below.url}/healthz") == (200, "ok\n")
    await below.ollamas[0].start()

    async def is_ready() -> bool:
        return await got(session, f"{below.url}/readyz") == (200, "ok\n")

    await until(is_ready, DEADLINE_S, "one can serve again")
