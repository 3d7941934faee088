"""What the client notes, against a server that answers as the test says."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from bench.live.client import BROKEN, Client, Sent
from tests.simulator.virtual.builders import request

END = {"response": "", "done": True, "load_duration": 1}
SCALE = 10.0


def line(**fields: object) -> bytes:
    return json.dumps(fields).encode() + b"\n"


@asynccontextmanager
async def serving(handler) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_post("/api/generate", handler)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def sent_to(handler, requests) -> list[Sent]:
    counted: list[None] = []
    async with serving(handler) as url, asyncio.timeout(20):
        sent = await Client(url, {"one": 0, "two": 1}, SCALE, lambda: counted.append(None)).replay(requests)
    assert len(counted) == len(requests)
    return sent


def streaming(*parts: bytes, status: int = 200):
    async def handler(asked: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(status=status, headers={"x-pointsman": "two loaded"})
        await response.prepare(asked)
        for part in parts:
            await response.write(part)
        return response

    return handler


@pytest.mark.parametrize(
    ("parts", "status", "noted", "has_token"),
    [
        pytest.param([line(response="a"), line(**END)], 200, 200, True, id="whole"),
        pytest.param([line(response=""), line(response="a"), line(**END)], 200, 200, True, id="empty token first"),
        pytest.param([b'{"resp', b'onse":"a"}\n' + line(**END)], 200, 200, True, id="cut anywhere"),
        pytest.param([line(response="a")], 200, BROKEN, True, id="no last line"),
        pytest.param([line(response="a"), line(**END)[:-9]], 200, BROKEN, True, id="last line cut off"),
        pytest.param([line(error="it broke")], 200, BROKEN, False, id="error in the stream"),
        pytest.param([line(error="no")], 502, 502, False, id="refused"),
    ],
)
async def test_an_answer_counts_with_its_last_line(
    parts: list[bytes], status: int, noted: int, has_token: bool
) -> None:
    (sent,) = await sent_to(streaming(*parts, status=status), [request(0)])

    assert (sent.record.status, sent.record.server) == (noted, 1)
    assert (sent.record.first_at_s is not None) == has_token


async def test_nobody_there_is_a_broken_request() -> None:
    async with serving(streaming()) as url:
        pass
    (sent,) = await Client(url, {}, SCALE, lambda: None).replay([request(0)])

    assert (sent.record.status, sent.record.server) == (BROKEN, None)


async def test_later_requests_do_not_wait_for_earlier_ones() -> None:
    """The first is answered only when the second has come: a closed loop would never end."""
    both = asyncio.Event()
    seen: list[str] = []

    async def handler(asked: web.Request) -> web.Response:
        seen.append((await asked.json())["model"])
        if len(seen) == 2:
            both.set()
        await both.wait()
        return web.Response(body=line(response="a") + line(**END))

    first, second = await sent_to(handler, [request(0), request(1, at_s=1.0, name="b")])

    assert seen == ["a", "b"]
    assert first.record.first_at_s >= 1.0, "times are the fleet's seconds on the schedule's clock"
    assert second.record.request.at_s == 1.0


async def test_requests_are_as_long_as_the_schedule_says_and_begin_unlike_each_other() -> None:
    prompts = set()

    async def handler(asked: web.Request) -> web.Response:
        body = await asked.json()
        prompts.add(body["prompt"])
        assert body["options"] == {"num_predict": 11}
        return web.Response(body=line(response="a") + line(**END | {"load_duration": 200_000_000}))

    sent, _ = await sent_to(handler, [request(0), request(1)])

    assert [len(prompt) for prompt in prompts] == [4 * 100] * 2
    assert len({prompt[:4] for prompt in prompts}) == 2, "or a real Ollama would have computed the second already"
    assert sent.record.served
    assert sent.record.load_wait_s == pytest.approx(2.0), "200 real ms are two of the fleet's seconds"


async def test_the_last_line_may_hold_the_whole_context_as_numbers() -> None:
    async def handler(_: web.Request) -> web.Response:
        return web.Response(body=line(response="a") + line(**END | {"context": [298] * 8000}))

    (sent,) = await sent_to(handler, [request(0)])

    assert sent.record.served
