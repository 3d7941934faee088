"""The simulated Ollama answers as a real one does, call by call; so does the real one, where there is one.

The table was last run against Ollama 0.33.0-rc2 with llama-server 0.7.0.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from spoe_agent.simulator.catalog import Catalog, Model
from spoe_agent.simulator.profile import GB, InstanceProfile
from spoe_agent.simulator.server import SimulatedOllama
from tests.simulator.conformance import CALLS
from tests.simulator.conformance.call import Call
from tests.simulator.real_ollama import BINARY, NEEDED, real_ollama
from tests.simulator.shapes import differences

SMALL = Model(name="small", size_bytes=GB, context_limit=8192, embedding_length=64, tools=False, blob="a" * 64)
MODELS = [
    SMALL,
    Model(name="second", size_bytes=GB, context_limit=8192, embedding_length=64, tools=False, blob="a" * 64),
    Model(name="embed", size_bytes=GB, context_limit=8192, embedding_length=64, embedding_only=True),
]


async def test_simulated() -> None:
    server = SimulatedOllama(InstanceProfile(), Catalog(MODELS), 1000.0)
    port = await server.start()
    try:
        await check(f"http://127.0.0.1:{port}")
    finally:
        await server.stop()


@pytest.mark.skipif(BINARY is None, reason=NEEDED)
@pytest.mark.timeout(300)
async def test_real(tmp_path: Path) -> None:
    async with real_ollama(tmp_path) as url:
        await check(url)


async def check(url: str) -> None:
    """Make all calls, in order, and fail with a table of the differences."""
    rows = []
    async with aiohttp.ClientSession(url, timeout=aiohttp.ClientTimeout(total=120)) as session:
        for name, call in CALLS.items():
            rows += [f"{name:42} | {one}" for one in await _differences(session, call)]
    if rows:
        pytest.fail("\n".join([f"{len(CALLS)} calls, these differ:", *rows]), pytrace=False)


async def _differences(session: aiohttp.ClientSession, call: Call) -> list[str]:
    body = call.body if isinstance(call.body, bytes) or call.body is None else json.dumps(call.body).encode()
    request = session.request(call.method, call.path, data=body, headers=call.headers, allow_redirects=False)
    async with request as response:
        text = await response.text()
        headers = response.headers
    if response.status != call.status:
        return [f"status {response.status} instead of {call.status}: {text[:200]}"]
    found = []
    if headers.get("Content-Type", "") != call.media:
        found.append(f"type {headers.get('Content-Type')!r} instead of {call.media!r}")
    if call.method != "HEAD" and ("Transfer-Encoding" in headers) is not call.chunked:
        found.append(f"chunked {'Transfer-Encoding' in headers} instead of {call.chunked}")
    for name, value in call.answer_headers.items():
        if headers.get(name) != value:
            found.append(f"{name}: {headers.get(name)!r} instead of {value!r}")
    if call.method == "HEAD":
        return found + ([f"a body: {text!r}"] if text else [])
    return found + list(differences(call.answer, _read(text, call)))


def _read(text: str, call: Call) -> Any:
    """The answer as its shape has it."""
    if isinstance(call.answer, str):
        return text
    if call.media.startswith("text/event-stream"):
        return [_event(block) for block in text.split("\n\n") if block]
    if call.media == "application/x-ndjson":
        return [json.loads(line) for line in text.splitlines()]
    return json.loads(text)


def _event(block: str) -> tuple[str | None, Any]:
    name, data = None, None
    for line in block.splitlines():
        key, _, value = line.partition(": ")
        if key == "event":
            name = value
        else:
            data = value if value == "[DONE]" else json.loads(value)
    return name, data
