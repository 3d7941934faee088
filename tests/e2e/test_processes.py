"""Several HAProxy processes on one agent: a reload with streams under way, two HAProxys, and one that is killed."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from spoe_agent.agent.counted import SETTLE_S
from spoe_agent.haproxy.render import haproxy_files, write
from spoe_agent.rig.process import Process, accepts, free_port
from spoe_agent.rig.stack import Simulated, Stack
from tests.e2e.conftest import chat, routed, until
from tests.e2e.eyes import scene, scrape, total
from tests.e2e.operator import status

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.haproxy]

SLOTS = 4
STREAMS = 2 * SLOTS
LATER = 3
SHORT = 40
FOR_EVER = {"num_predict": 10**7}
LIKE = Simulated(
    instances=2, models=(("alpha:latest", "4.7GB"),), num_parallel=SLOTS, max_loaded_models=1, time_scale=20.0
)
SETTINGS = {"policies": {"poll": {"interval": "200ms"}}}


@pytest_asyncio.fixture(loop_scope="module")
async def own(binary: str, tmp_path: Path) -> AsyncIterator[Stack]:
    """A stack whose HAProxy a test may reload."""
    async with Stack(tmp_path, binary, LIKE, settings=SETTINGS) as running:
        yield running


class Clients:
    """Streams that go on until they are let go, and short requests."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self.url = url

    @asynccontextmanager
    async def streams(self, number: int) -> AsyncIterator[None]:
        """Have so many under way, each with its first token."""
        async with AsyncExitStack() as stack:
            for _ in range(number):
                body = chat("alpha", options=FOR_EVER)
                answer = await stack.enter_async_context(self._session.post(f"{self.url}/api/chat", json=body))
                assert answer.status == 200
                await answer.content.readany()
                stack.callback(answer.close)
            # Younger ones would not be given up by the board, whoever counts nobody.
            await asyncio.sleep(SETTLE_S + 0.5)
            yield

    async def short(self, tokens: int = 4) -> tuple[int, str]:
        """Ask for a few tokens; return the status, and the reason."""
        body = chat("alpha", stream=False, options={"num_predict": tokens})
        async with self._session.post(f"{self.url}/api/chat", json=body) as answer:
            await answer.read()
            return answer.status, routed(answer)[1]


async def in_flight(session: aiohttp.ClientSession, stack: Stack) -> list[int]:
    """Return how many requests each instance has."""
    found = []
    for instance in stack.fleet.instances:
        async with session.get(f"{instance.url}/sim/stats") as answer:
            found.append(int((await answer.json())["in_flight"]))
    return found


async def agent_says(session: aiohttp.ClientSession, stack: Stack, holds: Callable[[dict[str, Any]], bool]) -> bool:
    return holds(await status(session, stack))


def config(stack: Stack) -> Path:
    return stack.folder / "haproxy" / "haproxy.cfg"


async def by_sf(stack: Stack, exit_stack: AsyncExitStack) -> None:
    """A new process that tells the old one to finish: what service managers without a master do."""
    command = [stack.binary, "-db", "-f", config(stack), "-sf", str(stack.haproxy.pid)]
    await exit_stack.enter_async_context(Process("haproxy-new", command, stack.folder))


async def by_master(stack: Stack, _: AsyncExitStack) -> None:
    """`systemctl reload haproxy`."""
    stack.haproxy.signal(signal.SIGUSR2)


Reload = Callable[[Stack, AsyncExitStack], Awaitable[None]]


async def is_reloaded_and_forgets_nothing(stack: Stack, session: aiohttp.ClientSession, reload: Reload) -> None:
    """Every slot is taken by streams of the old process; what the new one takes is held until they end."""
    clients = Clients(session, stack.url)
    async with AsyncExitStack() as exit_stack, asyncio.TaskGroup() as group:
        async with clients.streams(STREAMS):
            await reload(stack, exit_stack)
            later: list[asyncio.Task[tuple[int, str]]] = []

            async def new_one_asks() -> bool:
                later.append(group.create_task(clients.short()))
                await asyncio.sleep(0.1)
                return await agent_says(session, stack, lambda it: len(it["haproxy"]["processes"]) == 2)

            await until(new_one_asks, 20, "a question of the new process")
            assert "2 processes" in (await scene(session, stack))["asks"]
            assert total(await scrape(session, stack), "pointsman_haproxy_processes") == 2
            later += [group.create_task(clients.short()) for _ in range(LATER)]
            await until(
                lambda: agent_says(session, stack, lambda it: it["hold"]["length"] == len(later)), 10, "all are held"
            )
            assert await in_flight(session, stack) == [SLOTS, SLOTS]
            assert not any(task.done() for task in later)
        assert [await task for task in later] == [(200, "loaded")] * len(later)
        await until(
            lambda: agent_says(session, stack, lambda it: len(it["haproxy"]["processes"]) == 1 and it["grants"] == 0),
            10,
            "the old process has ended",
        )


async def test_a_reload_forgets_no_stream(own: Stack, session: aiohttp.ClientSession) -> None:
    await is_reloaded_and_forgets_nothing(own, session, by_sf)


async def test_a_process_that_ends_asks_the_agent_to_its_last_request(own: Stack) -> None:
    """A request that was on its way when HAProxy was reloaded is the old process's, whose proxies have stopped."""
    body = json.dumps(chat("alpha", stream=False, options={"num_predict": 4})).encode()
    head = f"POST /api/chat HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    reader, writer = await asyncio.open_connection("127.0.0.1", own.fleet.listeners.front.port)
    writer.write(head.encode() + body[:10])

    async def has_stopped() -> bool:
        return "Proxy pointsman_agent stopped" in own.haproxy.output.read_text()

    async with AsyncExitStack() as exit_stack:
        await by_sf(own, exit_stack)
        await until(has_stopped, 20, "the old process stops its proxies")
        writer.write(body[10:])
        answer = (await asyncio.wait_for(reader.read(), 20)).decode()
        writer.close()
    assert answer.startswith("HTTP/1.1 200 ")
    assert re.search(r"(?im)^x-pointsman: gpu\d room\r$", answer), answer


async def test_a_masters_reload_forgets_no_stream(binary: str, tmp_path: Path, session: aiohttp.ClientSession) -> None:
    program = Path(shutil.which(binary) or binary)
    if program.read_bytes()[:2] == b"#!":
        pytest.skip("this HAProxy is started by a script of its own loader, so its master cannot start itself again")
    wrapper = tmp_path / "master.sh"
    wrapper.write_text(f'#!/bin/sh\nshift\nexec {program} -W "$@"\n')  # without -db, which comes first
    wrapper.chmod(0o755)
    async with Stack(tmp_path, str(wrapper), LIKE, settings=SETTINGS) as running:
        await is_reloaded_and_forgets_nothing(running, session, by_master)


@asynccontextmanager
async def second_haproxy(stack: Stack) -> AsyncIterator[str]:
    """Another HAProxy with the same agent and instances; gives its URL."""
    port = free_port()
    front = stack.fleet.listeners.front.__class__("127.0.0.1", port)
    fleet = stack.fleet.model_copy(update={"listeners": stack.fleet.listeners.model_copy(update={"front": front})})
    write(haproxy_files(fleet), stack.folder / "second")
    command = [stack.binary, "-db", "-f", stack.folder / "second" / "haproxy.cfg"]
    async with Process("haproxy-second", command, stack.folder) as process:
        await process.ready(lambda: accepts("127.0.0.1", port))
        yield f"http://127.0.0.1:{port}"


def log_lines(stack: Stack) -> list[dict[str, Any]]:
    texts = [stack.folder / f"{name}.log" for name in ("haproxy", "haproxy-second")]
    lines = [line for text in texts for line in text.read_text().splitlines() if line.startswith("{")]
    return [line for line in map(json.loads, lines) if line["path"] == "/api/chat"]


async def test_two_haproxys_share_the_slots(own: Stack, session: aiohttp.ClientSession) -> None:
    """Neither's zero erases what the other has, nothing waits in a server's queue, and each keeps its name."""
    async with second_haproxy(own) as other, asyncio.TaskGroup() as group:
        both = [Clients(session, url) for url in (own.url, other)]
        async with both[0].streams(STREAMS - 1):
            tasks = [group.create_task(both[number % 2].short(20)) for number in range(SHORT)]
            most = 0
            while not all(task.done() for task in tasks):
                most = max(most, *await in_flight(session, own))
            asked = {one["name"] for one in (await status(session, own))["haproxy"]["processes"]}
        assert {task.result()[0] for task in tasks} == {200}
        assert most == SLOTS
        lines = [line for line in log_lines(own) if line["termination"] == "--"]
        assert (len(lines), {line["queue_ms"] for line in lines}) == (SHORT, {0})
        assert {line["process"] for line in lines} == asked
        assert len(asked) == 2


async def test_a_killed_haproxy_holds_no_slot(own: Stack, session: aiohttp.ClientSession) -> None:
    """Its streams end without a line; the operating system tells that it has ended."""
    clients = Clients(session, own.url)
    async with clients.streams(STREAMS), second_haproxy(own) as other:
        own.haproxy.signal(signal.SIGKILL)
        await own.haproxy.wait()
        assert (await Clients(session, other).short())[0] == 200
        await until(lambda: agent_says(session, own, lambda it: it["grants"] == 0), 10, "no slot is taken")
