"""What users see when things break: nothing, as far as it can be helped."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import aclosing

import aiohttp
import pytest
import pytest_asyncio
from click.testing import CliRunner

from spoe_agent.admin.command import status as status_command
from spoe_agent.rig.stack import Simulated, Stack
from spoe_agent.top.scenes import scenes
from tests.e2e.conftest import MODELS, SETTINGS, chat, routed, stack_of, until
from tests.e2e.load import Load

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module")
async def own(binary: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """A stack that a test may break."""
    simulated = Simulated(instances=3, models=MODELS, time_scale=50.0)
    async with stack_of(binary, tmp_path_factory.mktemp("own"), simulated, SETTINGS) as running:
        yield running


async def by_model(session: aiohttp.ClientSession, stack: Stack) -> bool:
    """Tell whether the agent routes again: fallback says so."""
    async with session.post(f"{stack.url}/api/chat", json=chat("gamma", stream=False)) as answer:
        await answer.read()
        return routed(answer)[1] != "fallback"


async def test_agent_killed_and_back(own: Stack, session: aiohttp.ClientSession) -> None:
    async with Load(session, own.url) as load:
        await load.grows(50)
        own.agent.signal(signal.SIGKILL)
        await own.agent.wait()
        await load.grows(100)
        await own.agent.start()
        await until(lambda: by_model(session, own), 30, "routing by model after a restart")
        await load.grows(50)
    assert set(load.statuses) == {200}
    assert load.reasons["fallback"] > 0


async def test_agent_stopped_and_continued(own: Stack, session: aiohttp.ClientSession) -> None:
    async with Load(session, own.url) as load:
        await load.grows(50)
        own.agent.signal(signal.SIGSTOP)
        await load.grows(50)
        own.agent.signal(signal.SIGCONT)
        await until(lambda: by_model(session, own), 30, "routing by model after SIGCONT")
    assert set(load.statuses) == {200}
    assert load.reasons["fallback"] > 0


async def test_an_agent_that_hangs_or_is_gone_is_said(own: Stack, session: aiohttp.ClientSession) -> None:
    """`top` and `status` say so by themselves, as the page does (tests/browser), and Prometheus finds nobody (`up`)."""
    admin, command = own.fleet.listeners.admin, ["--fleet", str(own.fleet_file)]

    async def said() -> str:
        return (await asyncio.to_thread(CliRunner().invoke, status_command, command)).output.replace("\n", " ")

    async with aclosing(scenes(admin)) as shown:
        assert not isinstance(await anext(shown), str)
        own.agent.signal(signal.SIGSTOP)
        printed = asyncio.ensure_future(said())
        while not isinstance(scene := await anext(shown), str):
            pass
        assert "it hangs or is stopped" in scene
        assert "does not answer within 5 s although it is there: it hangs" in await printed
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1), session.get(f"http://{admin}/metrics"):
                pass
        own.agent.signal(signal.SIGKILL)
        await own.agent.wait()
        assert f"no agent at {admin}" in await said()
        with pytest.raises(aiohttp.ClientConnectionError):
            await session.get(f"http://{admin}/metrics")
        await own.agent.start()
        while isinstance(await anext(shown), str):
            pass


async def test_pins_hold_without_the_agent(own: Stack, session: aiohttp.ClientSession) -> None:
    await own.agent.stop()
    for name in ("gamma", "GAMMA:latest", "library/gamma"):
        async with session.post(f"{own.url}/api/chat", json=chat(name, stream=False)) as answer:
            assert (answer.status, routed(answer)) == (200, ("gpu2", "fallback"))


async def test_agent_drains_on_sigterm(own: Stack, session: aiohttp.ClientSession) -> None:
    """It goes on answering until HAProxy has taken it out, then ends by itself; every request is served."""
    async with Load(session, own.url) as load:
        await load.grows(50)
        own.agent.signal(signal.SIGTERM)
        assert await asyncio.wait_for(own.agent.wait(), 30) == 0
        await load.grows(50)
    assert set(load.statuses) == {200}
    assert load.reasons["fallback"] > 0


@pytest.mark.both_fronts
async def test_instance_killed_and_back(own: Stack, session: aiohttp.ClientSession) -> None:
    async def where(name: str) -> tuple[int, str]:
        async with session.post(f"{own.url}/api/chat", json=chat(name, stream=False)) as answer:
            await answer.read()
            return answer.status, routed(answer)[0]

    _, victim = await where("alpha")
    process = own.ollamas[int(victim.removeprefix("gpu"))]
    process.signal(signal.SIGKILL)
    await process.wait()
    for _ in range(20):
        status, instance = await where("alpha")
        assert status == 200
        assert instance != victim
    await process.start()


@pytest.mark.both_fronts
async def test_no_instance_up(own: Stack, session: aiohttp.ClientSession) -> None:
    for process in own.ollamas:
        await process.stop()

    async def refused() -> bool:
        async with session.post(f"{own.url}/v1/chat/completions", json=chat("alpha")) as answer:
            body = await answer.json()
            assert answer.status == 503
            return answer.headers.get("Retry-After") == "5" and "no Ollama instance" in body["error"]["message"]

    await until(refused, 30, "503 with Retry-After at the door")


@pytest.mark.both_fronts
async def test_a_client_that_leaves_frees_its_place(own: Stack, session: aiohttp.ClientSession) -> None:
    body = chat("gamma", options={"num_predict": 100_000})
    async with session.post(f"{own.url}/api/chat", json=body) as answer:
        await answer.content.readany()
    stats = f"{own.fleet.instances[2].url}/sim/stats"

    async def free() -> bool:
        async with session.get(stats) as response:
            return (await response.json())["in_flight"] == 0

    await until(free, 30, "the slot of a client that left")


async def test_haproxy_reads_a_reload_without_losing_a_request(own: Stack, session: aiohttp.ClientSession) -> None:
    """A second agent takes the address over while the first drains: requests go on, none fails."""
    async with Load(session, own.url) as load:
        await load.grows(30)
        own.agent.signal(signal.SIGTERM)
        await own.agent.wait()
        await own.agent.start()
        await until(lambda: by_model(session, own), 30, "routing by model after a restart")
    assert set(load.statuses) == {200}
