"""What an operator reads afterwards: one JSON line per request, and one X-Request-Id from client to Ollama and back."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import aiohttp
import pytest

from spoe_agent.rig.stack import Simulated, Stack
from tests.e2e.conftest import chat, seen_by, stack_of, until

pytestmark = pytest.mark.asyncio(loop_scope="module")

SECRET = "sk-nobody-may-read-this"


def lines(stack: Stack) -> list[dict[str, Any]]:
    """HAProxy's log so far; a line that is not whole JSON fails the test."""
    return [json.loads(line) for line in stack.haproxy.output.read_text().splitlines() if line.startswith("{")]


async def line_of(stack: Stack, request_id: str) -> dict[str, Any]:
    """Wait for the line of a request by its X-Request-Id."""

    async def came() -> bool:
        return any(line["request_id"] == request_id for line in lines(stack))

    await until(came, 10, f"the line of {request_id}")
    return next(line for line in lines(stack) if line["request_id"] == request_id)


@pytest.mark.both_fronts
@pytest.mark.parametrize(
    ("sent", "is_kept"),
    [
        ("job-17/a.b~c:d+e=f@g_h", True),
        ("x" * 128, True),
        ("x" * 129, False),
        ('a"b', False),
        ("a b", False),
        ("", False),
    ],
)
@pytest.mark.parametrize("model", ["alpha", "nobody"], ids=["served", "turned away"])
async def test_a_clients_id_goes_to_ollama_and_back(
    stack: Stack, session: aiohttp.ClientSession, sent: str, is_kept: bool, model: str
) -> None:
    headers = {"X-Request-Id": sent} if sent else {}
    body = chat(model, stream=False, options={"num_predict": 1})
    async with session.post(f"{stack.url}/api/chat", json=body, headers=headers) as answer:
        await answer.read()
        (told,) = answer.headers.getall("X-Request-Id")
        served = answer.status == 200
    assert (told == sent) is is_kept
    assert len(told) > 10
    seen = [request["request_id"] for number in range(3) for request in await seen_by(session, stack, number)]
    assert told in seen or not served


async def test_the_line_says_who_asked_and_how_long_it_was_held(
    binary: str, session: aiohttp.ClientSession, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """One slot: the second waits in the agent until the first is done. Its time there is no queue of HAProxy's."""
    one = Simulated(
        instances=1, models=(("alpha:latest", "4.7GB"),), num_parallel=1, max_loaded_models=1, time_scale=20.0
    )
    async with stack_of(binary, tmp_path_factory.mktemp("log"), one) as own:

        async def ask(name: str, tokens: int, **headers: str) -> None:
            body = chat("alpha", stream=False, options={"num_predict": tokens})
            headers = {"X-Request-Id": name, **headers}
            async with session.post(f"{own.url}/api/chat", json=body, headers=headers) as answer:
                assert answer.status == 200, await answer.text()

        await ask("loads", 1)
        async with asyncio.TaskGroup() as group:
            group.create_task(ask("first", 2000))

            async def runs() -> bool:
                async with session.get(f"{own.fleet.instances[0].url}/sim/stats") as answer:
                    return (await answer.json())["in_flight"] == 1

            await until(runs, 30, "the first has the slot")
            group.create_task(ask("second", 1, Authorization=f"Bearer {SECRET}"))
        first, second = await line_of(own, "first"), await line_of(own, "second")
        assert (first["client"], first["caller"], first["hold_ms"]) == ("127.0.0.1", "127.0.0.1", "0")
        held_ms = int(second["hold_ms"])
        assert held_ms > 100
        assert abs(second["active_ms"] - held_ms) < held_ms
        assert second["queue_ms"] == 0
        assert (second["client"], second["caller"].lstrip("-").isdecimal()) == ("127.0.0.1", True)
        assert first["id"] != second["id"]
        assert first["process"] == second["process"] != ""
        reader, writer = await asyncio.open_connection("127.0.0.1", own.fleet.listeners.front.port)
        writer.write(b"NO\x01SENSE\r\n\r\n")
        assert b" 400 " in await reader.readline()
        writer.close()
        refused = await line_of(own, "-")
        assert (refused["status"], refused["method"], refused["hold_ms"]) == (400, "<BADREQ>", "-")
        told = own.haproxy.output.read_text() + own.agent.output.read_text()
        assert SECRET not in told
