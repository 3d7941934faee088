"""Connection limits that follow what instances can do, as HAProxy has them in force."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio

from spoe_agent.rig.stack import Simulated, Stack
from tests.e2e.conftest import MODELS, until
from tests.e2e.operator import QUICK, ask, by_hand, one

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.haproxy]

IN_FORCE_S = 2.0
SLACK_S = 3.0
"""For two busy cores."""

CONFIGURED = 12
"""4 slots x 3 models."""


@pytest_asyncio.fixture(loop_scope="module")
async def own(binary: str, tmp_path: Path) -> AsyncIterator[Stack]:
    """A stack whose HAProxy tells its limits on a socket."""
    told = tmp_path / "told.cfg"
    told.write_text(f"global\n  stats socket {tmp_path}/haproxy.sock level admin\n")
    wrapper = tmp_path / "haproxy.sh"
    wrapper.write_text(f'#!/bin/sh\nexec {binary} -f {told} "$@"\n')
    wrapper.chmod(0o755)
    simulated = Simulated(instances=2, models=MODELS, num_parallel=4, time_scale=50.0)
    async with Stack(tmp_path, str(wrapper), simulated, settings={"policies": QUICK}) as running:
        yield running


async def haproxy_says(stack: Stack, command: str) -> str:
    reader, writer = await asyncio.open_unix_connection(str(stack.folder / "haproxy.sock"))
    writer.write(command.encode() + b"\n")
    answer = (await reader.read()).decode()
    writer.close()
    return answer


async def server(stack: Stack, name: str) -> dict[str, str]:
    """Return HAProxy's row of a server."""
    rows = (await haproxy_says(stack, "show stat")).lstrip("# ").splitlines()
    heads = rows[0].split(",")
    for row in rows[1:]:
        found = dict(zip(heads, row.split(","), strict=False))
        if (found.get("pxname"), found.get("svname")) == ("pointsman_ollama", name):
            return found
    raise AssertionError(f"HAProxy has no server {name}")


async def limit_becomes(stack: Stack, name: str, limit: int, what: str) -> None:
    async def reached() -> bool:
        try:
            return (await server(stack, name))["slim"] == str(limit)
        except FileNotFoundError:  # HAProxy puts its socket there after it has begun to listen
            return False

    took_s = await until(reached, IN_FORCE_S + SLACK_S, f"{what}: limit {limit} of {name}")
    print(f"{what}: {limit} in force at {name} after {took_s:.2f} s")


async def test_the_limit_follows_the_models_that_are_loaded(own: Stack, session: aiohttp.ClientSession) -> None:
    """An empty instance has room for one model; each that is loaded adds its slots."""
    for name in ("gpu0", "gpu1"):
        await limit_becomes(own, name, 4, "nothing loaded")
    _, where = await ask(session, own, "alpha")
    await limit_becomes(own, where, 8, "one loaded")
    found = await one(session, own, where)
    assert found["connections"] == {"limit": 8, "configured": CONFIGURED}
    url = next(instance.url for instance in own.fleet.instances if instance.name == where)
    async with session.post(f"{url}/api/generate", json={"model": "alpha", "keep_alive": 0}) as answer:
        assert answer.status == 200
    await limit_becomes(own, where, 4, "unloaded again")


async def test_a_drain_holds_although_the_agent_dies_at_once(own: Stack, session: aiohttp.ClientSession) -> None:
    await limit_becomes(own, "gpu0", 4, "nothing loaded")
    await by_hand(session, own, "gpu1", "drain")
    own.agent.signal(signal.SIGKILL)
    for name in ("gpu0", "gpu1"):
        await limit_becomes(own, name, CONFIGURED, "agent killed")
    assert (await server(own, "gpu1"))["weight"] == "0"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP, signal.SIGTERM])
async def test_without_the_agent_the_limits_are_the_fleet_files(
    own: Stack, session: aiohttp.ClientSession, number: signal.Signals
) -> None:
    await limit_becomes(own, "gpu0", 4, "nothing loaded")
    await by_hand(session, own, "gpu1", "drain")

    async def drained() -> bool:
        return (await server(own, "gpu1"))["weight"] == "0"

    await until(drained, IN_FORCE_S + SLACK_S, "the drain in HAProxy")
    own.agent.signal(number)
    for name in ("gpu0", "gpu1"):
        await limit_becomes(own, name, CONFIGURED, f"agent gone by {number.name}")
    assert (await server(own, "gpu1"))["weight"] == "0"
    own.agent.signal(signal.SIGCONT)
    if number is not signal.SIGSTOP:
        await own.agent.wait()
        await own.agent.start()
    await limit_becomes(own, "gpu0", 4, "agent back")
