"""Clients that send slowly, or stop in the middle, or say nothing because it is not their turn."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from spoe_agent.haproxy.program import version
from spoe_agent.rig.stack import Simulated, Stack
from tests.e2e.conftest import chat, routed, stack_of, until
from tests.e2e.operator import status

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.haproxy]

STILL_S = 3.0
"""`client_timeout` here."""
MB = 1_000_000


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def own(binary: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """One instance with one slot; clients may stand still for three seconds."""
    simulated = Simulated(instances=1, models=(("alpha:latest", "4.7GB"),), num_parallel=1, time_scale=10.0)
    settings = {"policies": {"client_timeout": f"{STILL_S}s", "max_inspected_body": "4MiB"}}
    async with stack_of(binary, tmp_path_factory.mktemp("slow"), simulated, settings) as running:
        yield running


async def send_in_pieces(
    stack: Stack, path: str, body: bytes, pieces: int, pause_s: float, sent_pieces: int
) -> tuple[int, dict[str, Any]]:
    """Send a body piece by piece, the first `sent_pieces` of them; return what is answered."""
    reader, writer = await asyncio.open_connection("127.0.0.1", stack.fleet.listeners.front.port)
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
    writer.write(head.encode())
    size = -(-len(body) // pieces)
    for number in range(sent_pieces):
        writer.write(body[number * size : (number + 1) * size])
        await writer.drain()
        await asyncio.sleep(pause_s)
    answer = await asyncio.wait_for(reader.read(), 30)
    writer.close()
    headers, _, text = answer.partition(b"\r\n\r\n")
    assert b"transfer-encoding" not in headers.lower()
    return int(headers.split()[1]), json.loads(text)


def long_chat(size: int, model: str = "alpha") -> bytes:
    body = chat(model, stream=False, options={"num_predict": 1})
    return json.dumps({**body, "padding": "x" * size}).encode()


async def test_a_slow_body_is_waited_for_as_long_as_it_comes(own: Stack) -> None:
    """Three times as long as a client may stand still."""
    code, answer = await send_in_pieces(own, "/api/chat", long_chat(3 * MB), 24, STILL_S / 8, 24)
    assert (code, answer["done"]) == (200, True)


LATE = "the request did not arrive in time"
STALLED = [
    ("/api/chat", {"error": LATE}),
    ("/api/pull", {"error": LATE}),
    ("/v1/chat/completions", {"error": {"message": LATE, "type": "api_error", "param": None, "code": None}}),
    ("/v1/messages", {"type": "error", "error": {"message": LATE, "type": "api_error"}}),
]


@pytest.mark.parametrize(("path", "expected"), STALLED, ids=[path for path, _ in STALLED])
async def test_whoever_stops_in_the_middle_is_told_so(own: Stack, path: str, expected: dict[str, Any]) -> None:
    code, answer = await send_in_pieces(own, path, long_chat(3 * MB), 10, 0.0, 5)
    answer.pop("request_id", None)
    assert (code, answer) == (408, expected)


async def test_whoever_stops_in_the_middle_of_what_is_sent_on_gives_up_its_slot(
    own: Stack, session: aiohttp.ClientSession
) -> None:
    """Too large to be kept, so it was at the instance already. HAProxy 2.6 does not time those."""
    if version(own.binary).startswith("2.6"):
        pytest.skip("not on HAProxy 2.6")
    reader, writer = await asyncio.open_connection("127.0.0.1", own.fleet.listeners.front.port)
    body = json.dumps({**chat("alpha"), "padding": "x" * 8 * MB}).encode()
    writer.write(f"POST /api/chat HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n".encode())
    writer.write(body[: 6 * MB])
    await asyncio.wait_for(reader.read(), 20)
    writer.close()

    async def is_free() -> bool:
        return not (await status(session, own))["hold"]["length"] and not await granted(session, own)

    await until(is_free, 10, "its slot is free")


async def granted(session: aiohttp.ClientSession, stack: Stack) -> int:
    return sum(sum(one["in_flight"].values()) for one in (await status(session, stack))["instances"])


@pytest.mark.parametrize("size", [10, 6 * MB], ids=["small", "larger than HAProxy keeps"])
async def test_silence_while_held_and_while_ollama_works_is_no_standing_still(
    own: Stack, session: aiohttp.ClientSession, size: int
) -> None:
    """The second one waits for its slot longer than a client may stand still; the first one for its whole answer."""

    async def ask(body: bytes) -> tuple[int, str]:
        async with session.post(f"{own.url}/api/chat", data=io.BytesIO(body)) as answer:
            await answer.read()
            return answer.status, routed(answer)[1]

    async def is_held_for_long() -> bool:
        return float((await status(session, own))["hold"]["oldest_s"]) > 1.5 * STILL_S

    long = chat("alpha", stream=False, options={"num_predict": 15_000})
    async with asyncio.TaskGroup() as group:
        first = group.create_task(ask(json.dumps(long).encode()))
        await until(lambda: busy(session, own), 10, "the first is at work")
        second = group.create_task(ask(long_chat(size)))
        await until(is_held_for_long, 20, "the second is held")
    assert (first.result()[0], second.result()[0]) == (200, 200)
    assert second.result()[1] != "fallback"


async def busy(session: aiohttp.ClientSession, stack: Stack) -> bool:
    async with session.get(f"{stack.fleet.instances[0].url}/sim/stats") as answer:
        return bool((await answer.json())["in_flight"])


async def test_a_silent_connection_is_kept_alive(own: Stack) -> None:
    """The kernel says of each socket which timer runs, 2 for keepalive, and until when, in hundredths of a second."""
    front = own.fleet.listeners.front.port
    _, writer = await asyncio.open_connection("127.0.0.1", front)
    client = writer.get_extra_info("sockname")[1]
    ends = f":{front:04X}", f":{client:04X}"

    def timers() -> list[list[str]]:
        sockets = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        return [one[5].split(":") for one in sockets if one[1].endswith(ends[0]) and one[2].endswith(ends[1])]

    async def is_on() -> bool:
        return any(kind == "02" and 0 < int(left, 16) <= 30 * 100 for kind, left in timers())

    await until(is_on, 10, "the keepalive timer runs")
    writer.close()
