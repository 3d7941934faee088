"""Requests that an instance did not take go on to those that may serve them, and to no other."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator, Sequence

import aiohttp
import pytest
import pytest_asyncio

from spoe_agent.rig.stack import Simulated, Stack
from tests.e2e.conftest import chat, routed, stack_of, until
from tests.e2e.load import CLIENTS, Load
from tests.e2e.operator import status

pytestmark = pytest.mark.asyncio(loop_scope="module")

SIZE = "4.7GB"
STORES = [
    (f"store{number}", [(f"{name}:latest", SIZE) for name in names])
    for number, names in enumerate(
        (
            ("common", "first", "pinned"),
            ("common", "second", "pinned"),
            ("common", "first", "second", "pinned"),
        )
    )
]
SETTINGS = {"models": [{"match": "pinned", "instances": ["gpu0", "gpu1"]}]}


@pytest_asyncio.fixture(loop_scope="module")
async def own(binary: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """Three instances with stores of their own, and a pin."""
    simulated = Simulated(instances=3, stores=STORES, time_scale=50.0)
    async with stack_of(binary, tmp_path_factory.mktemp("again"), simulated, SETTINGS) as running:
        yield running


async def kill(stack: Stack, number: int) -> None:
    stack.ollamas[number].signal(signal.SIGKILL)
    await stack.ollamas[number].wait()


def lines(stack: Stack) -> list[dict[str, object]]:
    """Return HAProxy's lines of requests."""
    text = stack.haproxy.output.read_text()
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


def line_of(stack: Stack, answer: aiohttp.ClientResponse) -> Sequence[dict[str, object]]:
    """Return the lines with this answer's reason, each a request's."""
    return [line for line in lines(stack) if line["reason"] == routed(answer)[1]]


async def test_killed_under_load(own: Stack, session: aiohttp.ClientSession) -> None:
    """Nobody lands where the model is not, nor against a pin, and nobody fails whom another could serve."""
    async with Load(session, own.url, ("common", "first", "second", "pinned")) as load:
        await load.grows(60)
        before = load.where.copy()
        await kill(own, 0)
        await load.grows(80)
        # What an instance had begun dies with it.
        begun = [failure for failure in load.failed if failure.startswith("502") and " at gpu0 " in failure]
        assert load.failed == begun
        await own.ollamas[0].start()
        await until(lambda: _serves(session, own, 0), 20, "gpu0 serves again")
        await kill(own, 1)
        await load.grows(80)
    begun += [failure for failure in load.failed if failure.startswith("502") and " at gpu1 " in failure]
    assert load.failed == begun
    assert len(begun) <= 2 * CLIENTS
    assert before["first", "gpu1"] == before["second", "gpu0"] == 0
    seen = {name: {instance for model, instance in load.where if model == name} for name, _ in load.where}
    assert seen["first"] <= {"gpu0", "gpu2"}
    assert seen["second"] <= {"gpu1", "gpu2"}
    assert seen["pinned"] <= {"gpu0", "gpu1"}


async def _serves(session: aiohttp.ClientSession, stack: Stack, number: int) -> bool:
    """Tell whether the front sends requests to an instance: the emptiest one answers."""
    async with session.get(f"{stack.url}/") as answer:
        return routed(answer)[0] == f"gpu{number}"


async def test_the_answer_says_what_happened(own: Stack, session: aiohttp.ClientSession) -> None:
    async with session.post(f"{own.url}/api/chat", json=chat("first", stream=False)) as answer:
        victim = routed(answer)[0]
    await kill(own, int(victim.removeprefix("gpu")))
    async with session.post(f"{own.url}/api/chat", json=chat("first", stream=False)) as answer:
        assert answer.status == 200
        other = ({"gpu0", "gpu2"} - {victim}).pop()
        assert routed(answer) == (other, f"again: {victim} failed")

        async def logged() -> bool:
            return bool(line_of(own, answer))

        await until(logged, 30, "the request's line")
        (line,) = line_of(own, answer)
    assert (line["at"], line["status"], line["retries"]) == (other, 200, "+1")


async def test_who_may_serve_is_dead(own: Stack, session: aiohttp.ClientSession) -> None:
    """Another instance is up; it has not the model, or is not among its pins: 503, in each dialect."""
    await kill(own, 0)
    await kill(own, 1)
    for path, kind in (
        ("/api/chat", None),
        ("/v1/chat/completions", "api_error"),
        ("/v1/messages", "overloaded_error"),
    ):
        async with session.post(own.url + path, json={**chat("pinned"), "max_tokens": 5}) as answer:
            error = (await answer.json())["error"]
            assert (answer.status, answer.headers["Retry-After"]) == (503, "5")
            assert (error if kind is None else error["message"]).startswith(
                "no Ollama instance that serves model 'pinned'"
            )
            assert kind is None or error["type"] == kind


async def test_all_dead_at_once(own: Stack, session: aiohttp.ClientSession) -> None:
    """Before anybody knows, each is tried once; the same without the agent. One line in the log for each request."""
    for number in range(3):
        await kill(own, number)
    for _ in range(2):
        before = len(lines(own))
        async with session.post(f"{own.url}/api/chat", json=chat("common")) as answer:
            assert (answer.status, answer.headers["Retry-After"], routed(answer)[0]) == (503, "5", "-")
            assert "no Ollama instance" in (await answer.json())["error"]

        async def logged(number: int = before + 1) -> bool:
            return len(lines(own)) == number

        await until(logged, 30, "its line")
        own.agent.signal(signal.SIGKILL)
        await own.agent.wait()


async def test_nobody_goes_around_for_ever(own: Stack) -> None:
    """What a request says that went around more often than there are instances is the end of it."""
    again = own.fleet.listeners.again
    reader, writer = await asyncio.open_connection(again.host, again.port)
    body = json.dumps(chat("common"))
    writer.write(
        b"PROXY TCP4 127.0.0.1 127.0.0.1 1 1\r\nPOST /v1/messages HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
        b"X-Pointsman-Tried: /-//gpu0//gpu1//-/\r\nContent-Type: application/json\r\n"
        + f"Content-Length: {len(body)}\r\n\r\n{body}".encode()
    )
    head, _, said = (await asyncio.wait_for(reader.read(), 10)).partition(b"\r\n\r\n")
    writer.close()
    assert head.startswith(b"HTTP/1.1 503 ")
    assert b"retry-after: 5" in head.lower()
    assert json.loads(said)["error"] == {
        "type": "overloaded_error",
        "message": "one Ollama instance after another refused the request; try again shortly",
    }


async def test_it_is_held_on_its_second_way(
    binary: str, session: aiohttp.ClientSession, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The only other instance is full: it waits there in turn, and no grant is left over."""
    simulated = Simulated(
        instances=2, models=[("one:latest", SIZE)], num_parallel=1, max_loaded_models=1, time_scale=20.0
    )
    async with stack_of(binary, tmp_path_factory.mktemp("held"), simulated) as own:

        async def ask(tokens: int, where: str = "") -> tuple[int, str, str]:
            body = chat("one", stream=False, options={"num_predict": tokens})
            wish = {"x-pointsman-instance": where} if where else {}
            async with session.post(f"{own.url}/api/chat", json=body, headers=wish) as answer:
                await answer.read()
                return answer.status, *routed(answer)

        for name in ("gpu0", "gpu1"):
            assert (await ask(1, name))[:2] == (200, name)
        async with asyncio.TaskGroup() as group:
            long = group.create_task(ask(300))
            await until(lambda: _busy(session, own), 10, "one instance is busy")
            busy = await _where_busy(session, own)
            await kill(own, 1 - busy)
            assert await ask(4) == (200, f"gpu{busy}", f"again: gpu{1 - busy} failed")
        assert long.result()[0] == 200

        async def forgotten() -> bool:
            shown = await status(session, own)
            return bool(shown["grants"] == shown["hold"]["length"] == 0)

        await until(forgotten, 30, "no grant is left over")


async def _where_busy(session: aiohttp.ClientSession, stack: Stack) -> int:
    for number, instance in enumerate(stack.fleet.instances):
        async with session.get(f"{instance.url}/sim/stats") as answer:
            if (await answer.json())["in_flight"]:
                return number
    return -1


async def _busy(session: aiohttp.ClientSession, stack: Stack) -> bool:
    return await _where_busy(session, stack) >= 0
