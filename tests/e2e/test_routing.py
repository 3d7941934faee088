"""Requests reach the instance that should serve them, whatever way the model is written or sent."""

from __future__ import annotations

import asyncio
import io
import json
from typing import Any

import aiohttp
import pytest

from spoe_agent.rig.mitmproxy import MitmproxyStack
from spoe_agent.rig.stack import Simulated, Stack
from tests.e2e.conftest import MODELS, chat, routed, seen_by, stack_of, until
from tests.e2e.operator import status

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.both_fronts]

LARGE = {"metadata": "x" * 1_000_000, "messages": [{"role": "user", "content": "hi"}], "max_tokens": 1}
"""Not a long prompt: a simulated model would take its time to read that."""


async def test_a_model_stays_where_it_is_loaded(stack: Stack, session: aiohttp.ClientSession) -> None:
    """One request after another: a question may overtake the line of the request before, and loads are so short here
    that a further copy would be worth it.
    """
    where = []

    async def idle() -> bool:
        return not any(instance["in_flight"] for instance in (await status(session, stack))["instances"])

    for name in ("beta:7b", "BETA:7B", "library/beta:7b", "registry.ollama.ai/library/beta:7b", "beta:7b:local"):
        async with session.post(f"{stack.url}/api/chat", json=chat(name, stream=False)) as answer:
            assert answer.status == 200, await answer.text()
            where.append(routed(answer))
        if not isinstance(stack, MitmproxyStack):  # which sees an end before the client does
            await until(idle, 10, "the end of the request")
    assert len({instance for instance, _ in where}) == 1, where


@pytest.mark.parametrize("name", ["gamma", "gamma:latest", "Gamma"])
async def test_a_pin_holds(stack: Stack, session: aiohttp.ClientSession, name: str) -> None:
    async with session.post(f"{stack.url}/api/generate", json={"model": name, "prompt": "", "stream": False}) as answer:
        assert answer.status == 200, await answer.text()
        assert routed(answer)[0] == "gpu2"


BODIES: list[tuple[str, bytes]] = [
    ("model last, 1 MB", json.dumps({**LARGE, "model": "gamma"}).encode()),
    ("model first, 5 MB", json.dumps({"model": "gamma", **LARGE, "metadata": "x" * 5_000_000}).encode()),
    (
        "escaped slash",
        b'{"messages": [{"role": "user", "content": "hi"}], "model": "library\\/gamma", "max_tokens": 1}',
    ),
    ("key in another case", b'{"messages": [{"role": "user", "content": "hi"}], "Model": "gamma", "max_tokens": 1}'),
    (
        "model inside messages",
        b'{"messages": [{"role":"user","content":"hi","model":"alpha"}],"max_tokens":1,"model":"gamma"}',
    ),
    (
        "deep nesting before it",
        b'{"metadata":'
        + b"[" * 30
        + b"]" * 30
        + b',"messages":[{"role":"user","content":"a"}],"max_tokens":1,"model":"gamma"}',
    ),
]


@pytest.mark.parametrize("body", [body for _, body in BODIES], ids=[name for name, _ in BODIES])
@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
async def test_the_model_is_found(stack: Stack, session: aiohttp.ClientSession, body: bytes, chunked: bool) -> None:
    async def pieces() -> Any:
        for start in range(0, len(body), 10_000):
            yield body[start : start + 10_000]

    headers = {"Content-Type": "application/json"}
    data = pieces() if chunked else io.BytesIO(body)
    async with session.post(f"{stack.url}/v1/chat/completions", data=data, headers=headers) as answer:
        assert answer.status == 200, await answer.text()
        assert routed(answer)[0] == "gpu2"


async def test_ollama_sees_a_local_host_and_no_origin(stack: Stack, session: aiohttp.ClientSession) -> None:
    headers = {"Host": "llm.example.com", "Origin": "http://localhost:1"}
    async with session.post(f"{stack.url}/api/chat", json=chat("gamma", stream=False), headers=headers) as answer:
        assert answer.status == 200
    last = (await seen_by(session, stack, 2))[-1]
    assert (last["host"], last["origin"]) == ("localhost", None)


@pytest.mark.parametrize(
    ("path", "status"),
    [("/", 200), ("/nothing", 404)],
)
async def test_requests_without_a_model(stack: Stack, session: aiohttp.ClientSession, path: str, status: int) -> None:
    async with session.get(stack.url + path) as answer:
        assert answer.status == status
        assert routed(answer)[0] in {"gpu0", "gpu1", "gpu2"}


async def test_a_model_in_the_path(stack: Stack, session: aiohttp.ClientSession) -> None:
    async with session.get(f"{stack.url}/v1/models/alpha") as answer:
        assert (answer.status, (await answer.json())["id"]) == (200, "alpha")
    async with session.get(f"{stack.url}/v1/models/nobody") as answer:
        assert (answer.status, routed(answer)) == (404, ("-", "not found"))


async def test_a_burst_for_one_cold_model_loads_it_once(
    binary: str, session: aiohttp.ClientSession, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Four at once, before any poll could show the first: they join its load instead of starting three. An agent of
    their own, which has not learned how short the loads of these tests are.
    """
    like = Simulated(instances=3, models=MODELS, time_scale=20.0)
    async with stack_of(binary, tmp_path_factory.mktemp("burst"), like) as own:

        async def one() -> str:
            async with session.post(f"{own.url}/api/chat", json=chat("alpha", options={"num_predict": 1})) as answer:
                assert answer.status == 200, await answer.text()
                return routed(answer)[0]

        where = await asyncio.gather(*(one() for _ in range(4)))
    assert len(set(where)) == 1


async def test_the_first_chunk_comes_before_the_last_is_made(stack: Stack, session: aiohttp.ClientSession) -> None:
    body = chat("gamma", options={"num_predict": 400})
    async with session.post(f"{stack.url}/api/chat", json=body) as answer:
        await answer.content.readany()
        async with session.get(f"{stack.fleet.instances[2].url}/sim/stats") as stats:
            assert (await stats.json())["in_flight"] >= 1
        rest = await answer.content.read()
    assert json.loads(rest.splitlines()[-1])["done"] is True


async def test_other_options_reload_there_and_back(stack: Stack, session: aiohttp.ClientSession) -> None:
    async def reason(**options: int) -> str:
        body = {"model": "gamma", "prompt": "x", "stream": False, "options": {"num_predict": 1, **options}}
        async with session.post(f"{stack.url}/api/generate", json=body) as answer:
            assert answer.status == 200, await answer.text()
            return routed(answer)[1]

    async def is_plain() -> bool:
        return await reason() == "loaded"

    await until(is_plain, 30, "gamma is loaded")
    assert await reason(num_batch=128) == "reload"
    assert await reason(num_batch=128) in {"loaded", "loading"}
    assert await reason() == "reload"
