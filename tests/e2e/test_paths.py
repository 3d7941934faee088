"""What a path is for, at real front ends: the table of tests/requests/test_path.py."""

from __future__ import annotations

import asyncio
import json

import aiohttp
import pytest

from spoe_agent.rig.stack import Stack
from tests.e2e.conftest import chat, seen_by
from tests.requests.test_path import LEFT_TO_OLLAMA, TARGETS

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.both_fronts]

BODY = json.dumps(chat("alpha", stream=False, max_tokens=2, options={"num_predict": 2})).encode()
RUNS = {"loaded", "loading", "room", "evict", "reload"}


async def ask(stack: Stack, method: str, target: str) -> tuple[int, str]:
    """Ask for exactly this target; return status and reason."""
    reader, writer = await asyncio.open_connection("127.0.0.1", stack.fleet.listeners.front.port)
    body = BODY if method == "POST" else b""
    head = f"{method} {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body)
    answer = await asyncio.wait_for(reader.read(), 30)
    writer.close()
    status, *lines = answer.partition(b"\r\n\r\n")[0].decode().split("\r\n")
    reasons = [line.split(" ", 2)[2] for line in lines if line.lower().startswith("x-pointsman: ")]
    return int(status.split()[1]), reasons[0]


def kind_of(reason: str) -> str:
    return "inference" if reason in RUNS else reason


async def test_every_target_is_taken_for_what_ollama_takes_it(stack: Stack) -> None:
    found = []
    for method, target, _, _ in TARGETS:
        status, reason = await ask(stack, method, target)
        found.append((method, target, kind_of(reason), status))
    assert found == [(method, target, str(kind), status) for method, target, kind, status in TARGETS]


async def test_targets_that_only_a_real_ollama_tells_apart(stack: Stack) -> None:
    found = [(*each, kind_of((await ask(stack, *each))[1])) for each in ((one[0], one[1]) for one in LEFT_TO_OLLAMA)]
    assert found == [(method, target, str(kind)) for method, target, kind, _ in LEFT_TO_OLLAMA]


async def test_an_instance_gets_the_path_as_it_came(stack: Stack, session: aiohttp.ClientSession) -> None:
    await ask(stack, "POST", "/api/ch%61t?x=%61")
    seen = [one["path"] for number in range(3) for one in await seen_by(session, stack, number)]
    assert "/api/chat" in seen
