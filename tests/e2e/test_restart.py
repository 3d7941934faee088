"""The agent's restart under load: a new one takes the old one's place, and HAProxy notices nothing."""

from __future__ import annotations

import asyncio
import io
import json
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from spoe_agent.rig.stack import Simulated, Stack
from tests.e2e.conftest import MODELS, chat, routed, until
from tests.e2e.operator import QUICK, by_hand, one, status

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.haproxy]

CLIENTS = 8
LATE_MS = 3_900
JSON = {"Content-Type": "application/json"}
PINS = {"models": [{"match": "beta:7b", "instances": ["gpu1"], "max_concurrent": 1}]}


@pytest_asyncio.fixture(loop_scope="module")
async def own(binary: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    simulated = Simulated(instances=2, models=MODELS, time_scale=20.0)
    settings = {"policies": {**QUICK, "hold_timeout": "60s", "max_inspected_body": "4MiB"}, **PINS}
    async with Stack(tmp_path_factory.mktemp("restart"), binary, simulated, settings=settings) as running:
        yield running


def logged(stack: Stack, event: str) -> list[dict[str, Any]]:
    """Return the agents' log lines of an event."""
    lines = [json.loads(line) for line in stack.agent.output.read_text().splitlines() if line.startswith("{")]
    return [line for line in lines if line["event"] == event]


def pids(stack: Stack) -> list[int]:
    """Return the agents that were started by agents, by what the log says."""
    return [line["pid"] for line in logged(stack, "took over")]


def excused(stack: Stack) -> int:
    """Return how many requests may fall back: none, unless this machine was so busy with other things that the moment
    in which nobody answers was as long as `timeout processing`; then one of each client.
    """
    took_ms = [line["frozen_ms"] for line in logged(stack, "a new agent has taken over")]
    return CLIENTS * sum(frozen_ms >= LATE_MS for frozen_ms in took_ms)


@asynccontextmanager
async def successors(stack: Stack) -> AsyncIterator[None]:
    """End whoever took over, by its id."""
    try:
        yield
    finally:
        for pid in pids(stack)[-1:]:
            os.kill(pid, signal.SIGTERM)

            async def ended(pid: int = pid) -> bool:
                return not _lives(pid)

            await until(ended, 10, f"the end of agent {pid}")


def _lives(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def restart(session: aiohttp.ClientSession, stack: Stack) -> tuple[int, dict[str, object]]:
    """Do what `pointsman restart` does."""
    async with session.post(f"http://{stack.fleet.listeners.admin}/restart") as answer:
        return answer.status, await answer.json()


class Load:
    """Clients that ask one after another; counts statuses and reasons."""

    def __init__(self, session: aiohttp.ClientSession, stack: Stack) -> None:
        self.statuses: Counter[int] = Counter()
        self.reasons: Counter[str] = Counter()
        self._session, self._stack, self._stop = session, stack, False

    async def __aenter__(self) -> Load:
        self._tasks = [asyncio.ensure_future(self._client(n)) for n in range(CLIENTS)]
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._stop = True
        await asyncio.gather(*self._tasks)

    async def _client(self, number: int) -> None:
        model = ("alpha", "gamma", "embed")[number % 2]
        while not self._stop:
            body = chat(model, stream=False, options={"num_predict": 4})
            async with self._session.post(f"{self._stack.url}/api/chat", json=body) as answer:
                await answer.read()
                self.statuses[answer.status] += 1
                self.reasons[routed(answer)[1]] += 1

    async def grows(self, more: int) -> None:
        target = self.statuses.total() + more

        async def reached() -> bool:
            return self.statuses.total() >= target

        await until(reached, 30, f"{more} more requests")


async def test_a_new_agent_takes_over_and_no_request_is_without_one(own: Stack, session: aiohttp.ClientSession) -> None:
    async with successors(own):
        async with Load(session, own) as load:
            await load.grows(50)
            for _ in range(2):
                code, said = await restart(session, own)
                assert code == 200, said
                await load.grows(50)
        assert await own.agent.wait() == 0
        assert set(load.statuses) == {200}
        assert load.reasons["fallback"] <= excused(own), load.reasons
        assert (await status(session, own))["grants"] == 0
        print(f"{load.statuses.total()} requests")


async def test_bodies_that_are_being_read_are_read_by_the_new_one(own: Stack, session: aiohttp.ClientSession) -> None:
    """Each takes the agent half a second, for all the names in it, and others wait: it never has none to read."""
    body = b"{" + b'"model": "other", ' * 40_000 + b'"model": "alpha", "stream": false, "messages": []}'
    found: Counter[tuple[int, str]] = Counter()
    stop = asyncio.Event()

    async def client() -> None:
        while not stop.is_set():
            async with session.post(f"{own.url}/api/chat", data=io.BytesIO(body), headers=JSON) as answer:
                await answer.read()
                found[answer.status, routed(answer)[1]] += 1

    async def more(number: int = CLIENTS) -> None:
        target = found.total() + number

        async def reached() -> bool:
            return found.total() >= target

        await until(reached, 60, f"{number} more requests")

    async with successors(own), asyncio.TaskGroup() as group:
        for _ in range(CLIENTS):
            group.create_task(client())
        await more()
        for _ in range(2):
            code, said = await restart(session, own)
            assert code == 200, said
            await more()
        stop.set()
    assert {status for status, _ in found} == {200}, found
    assert sum(count for (_, reason), count in found.items() if reason == "fallback") <= excused(own), found


async def test_what_runs_and_what_is_held_goes_on(own: Stack, session: aiohttp.ClientSession) -> None:
    """One stream at the model's limit, one request held behind it; who was drained stays so."""
    async with successors(own):
        await by_hand(session, own, "gpu0", "drain")
        body = chat("beta:7b", options={"num_predict": 100_000})
        async with session.post(f"{own.url}/api/chat", json=body) as stream:
            await stream.content.readany()
            held = asyncio.ensure_future(_answered(session, own))

            async def waits() -> bool:
                return bool((await status(session, own))["hold"]["length"] == 1)

            await until(waits, 10, "a held request")
            code, said = await restart(session, own)
            assert code == 200, said
            assert await own.agent.wait() == 0
            found = await status(session, own)
            assert (found["grants"], found["hold"]["length"]) == (1, 1)
            assert (await one(session, own, "gpu1"))["in_flight"] == {"beta:7b": 1}
            assert (await one(session, own, "gpu0"))["drained"]
            assert not held.done()
        # The stream's end frees its slot, and the new agent answers on the connection that the old one had.
        assert await held == (200, ("gpu1", "loaded"))


async def _answered(session: aiohttp.ClientSession, stack: Stack) -> tuple[int, tuple[str, str]]:
    body = chat("beta:7b", stream=False, options={"num_predict": 2})
    async with session.post(f"{stack.url}/api/chat", json=body) as answer:
        await answer.read()
        return answer.status, routed(answer)


async def test_one_that_does_not_come_up_leaves_the_old_one(own: Stack, session: aiohttp.ClientSession) -> None:
    before = own.fleet_file.read_text()
    own.fleet_file.write_text("instances: 7\n")
    async with Load(session, own) as load:
        code, said = await restart(session, own)
        assert code == 409
        assert "did not become ready: " in str(said) and "instances: " in str(said)
        assert str(said).endswith("this agent goes on'}")
        await load.grows(50)
    own.fleet_file.write_text(before)
    assert set(load.statuses) == {200}
    assert load.reasons["fallback"] == 0, load.reasons
    assert own.agent.is_running
