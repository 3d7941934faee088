"""The whole stack for end-to-end tests: real HAProxy (each version that is found), the agent, simulated Ollamas.

HAProxy versions: the installed one (or $HAPROXY), and every program in the folder $HAPROXIES.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio

from spoe_agent.rig.haproxy import find_haproxy, version
from spoe_agent.rig.stack import Simulated, Stack

# The names sort the way Ollama would evict them: alpha first.
MODELS = (("alpha:latest", "4.7GB"), ("beta:7b", "9GB"), ("gamma:latest", "16GB"), ("embed:latest", "270MB"))
PINNED = {"models": [{"match": "gamma", "instances": ["gpu2"]}]}


def binaries() -> list[str]:
    """Every HAProxy to test with, the installed one first."""
    found = [find_haproxy()]
    folder = os.environ.get("HAPROXIES")
    if folder:
        found += sorted(str(path) for path in Path(folder).iterdir() if path.is_file() and os.access(path, os.X_OK))
    return list({version(binary): binary for binary in found}.values())


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run what needs HAProxy on each version."""
    if "binary" in metafunc.fixturenames:
        found = binaries()
        metafunc.parametrize("binary", found, ids=[version(path) for path in found], scope="module", indirect=True)


@pytest.fixture(scope="module")
def binary(request: pytest.FixtureRequest) -> str:
    """An HAProxy program."""
    return str(request.param)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(binary: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """Three simulated instances, the agent and HAProxy, shared by a module's tests."""
    simulated = Simulated(instances=3, models=MODELS, time_scale=20.0)
    async with Stack(tmp_path_factory.mktemp("stack"), binary, simulated, settings=PINNED) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    """A client that waits long and opens as many connections as it is asked to."""
    connector = aiohttp.TCPConnector(limit=0, force_close=True)
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=60)) as client:
        yield client


async def until(condition: Callable[[], Awaitable[bool]], deadline_s: float, what: str) -> float:
    """Wait for a condition and return the seconds it took; fail when the deadline passes."""
    begun = time.monotonic()
    while not await condition():
        waited_s = time.monotonic() - begun
        assert waited_s < deadline_s, f"{what}: not within {deadline_s} s"
        await asyncio.sleep(0.02)
    return time.monotonic() - begun


def routed(response: aiohttp.ClientResponse) -> tuple[str, str]:
    """Return instance and reason of an answer, as `x-pointsman` tells them."""
    instance, _, reason = response.headers["x-pointsman"].partition(" ")
    return instance, reason


async def seen_by(session: aiohttp.ClientSession, stack: Stack, number: int) -> list[dict[str, object]]:
    """Return the requests that a simulated instance saw, oldest first."""
    async with session.get(f"{stack.fleet.instances[number].url}/sim/requests") as response:
        requests: list[dict[str, object]] = (await response.json())["requests"]
        return requests


def chat(model: str, **more: object) -> dict[str, object]:
    """Return the body of a short chat."""
    return {"model": model, "messages": [{"role": "user", "content": "hello"}], **more}
