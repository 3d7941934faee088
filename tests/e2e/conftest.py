"""The whole stack for end-to-end tests: real HAProxy (each version that is found) with the agent, or mitmdump with the
addon, before simulated Ollamas.

HAProxy versions: the installed one (or $HAPROXY), and every program in the folder $HAPROXIES. Tests that are marked
`both_fronts` run with mitmproxy too, unless `haproxy` takes them out of a module that is.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import cache
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from spoe_agent.rig import mitmproxy
from spoe_agent.rig.haproxy import find_haproxy, version
from spoe_agent.rig.stack import Simulated, Stack
from tests.requests.test_foreign import ALLOWED_HOSTS

# The names sort the way Ollama would evict them: alpha first.
MODELS = (("alpha:latest", "4.7GB"), ("beta:7b", "9GB"), ("gamma:latest", "16GB"), ("embed:latest", "270MB"))
PINNED = {"models": [{"match": "gamma", "instances": ["gpu2"]}]}
SETTINGS = {
    **PINNED,
    "policies": {"allowed_hosts": list(ALLOWED_HOSTS), "max_inspected_body": "4MiB"},
}


# Each asks a program for its version, which takes mitmdump a second: once, not for every test.
@cache
def haproxies() -> dict[str, str]:
    """Return every HAProxy to test with by its name, the installed one first."""
    found = [find_haproxy()]
    folder = os.environ.get("HAPROXIES")
    if folder:
        found += sorted(str(path) for path in Path(folder).iterdir() if path.is_file() and os.access(path, os.X_OK))
    return {f"haproxy-{version(binary)}": binary for binary in found}


@cache
def mitmdumps() -> dict[str, str]:
    """Return mitmdump by its name."""
    path = mitmproxy.find_mitmdump()
    return {f"mitmproxy-{mitmproxy.version(path)}": path}


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marks."""
    config.addinivalue_line("markers", "both_fronts: runs with the mitmproxy addon too")
    config.addinivalue_line("markers", "haproxy: is about HAProxy or the agent as a process, not with mitmproxy")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run what needs a front end on each version of HAProxy, and what is marked so on mitmproxy."""
    if "binary" in metafunc.fixturenames:
        marks = {mark.name for mark in metafunc.definition.iter_markers()}
        found = haproxies() | (mitmdumps() if "both_fronts" in marks and "haproxy" not in marks else {})
        metafunc.parametrize("binary", list(found.values()), ids=list(found), scope="module", indirect=True)


@pytest.fixture(scope="module")
def binary(request: pytest.FixtureRequest) -> str:
    """The front end's program."""
    return str(request.param)


def is_mitmproxy(binary: str) -> bool:
    """Tell whether a program is not HAProxy."""
    return Path(binary).name.startswith("mitmdump")


def stack_of(binary: str, folder: Path, simulated: Simulated, settings: dict[str, Any] | None = None) -> Stack:
    """Return a stack, not started, with this front end."""
    kind = mitmproxy.MitmproxyStack if is_mitmproxy(binary) else Stack
    return kind(folder, binary, simulated, settings=settings or {})


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(binary: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """Three simulated instances and a front end, shared by a module's tests."""
    simulated = Simulated(instances=3, models=MODELS, time_scale=20.0)
    async with stack_of(binary, tmp_path_factory.mktemp("stack"), simulated, SETTINGS) as running:
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
    """Return the requests of clients that a simulated instance saw, oldest first: without polls and checks."""
    async with session.get(f"{stack.fleet.instances[number].url}/sim/requests") as response:
        return [seen for seen in (await response.json())["requests"] if seen["request_id"]]


def chat(model: str, **more: object) -> dict[str, object]:
    """Return the body of a short chat."""
    return {"model": model, "messages": [{"role": "user", "content": "hello"}], **more}
