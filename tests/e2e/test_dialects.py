"""Every refusal in each caller's dialect: status, shape, Retry-After; and nothing is sent to an instance."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from spoe_agent.rig.stack import Simulated, Stack
from tests.e2e.conftest import chat, routed, seen_by, stack_of, until

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.both_fronts]

PATHS = ("/api/chat", "/v1/chat/completions", "/v1/messages")
TYPES = {
    "/v1/chat/completions": {400: "invalid_request_error", 404: "not_found_error", 413: "api_error", 503: "api_error"},
    "/v1/messages": {
        400: "invalid_request_error",
        404: "not_found_error",
        413: "request_too_large",
        503: "overloaded_error",
    },
}
MODELS = (("alpha:latest", "4.7GB"), ("giant:latest", "200GB"))
SETTINGS = {"policies": {"hold_timeout": "1s", "retry_after": "7s", "max_inspected_body": "64KiB"}}
DEADLINE_S = 30.0
Told = tuple[int, str, str, str | None]
"""Status, reason, text, Retry-After."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def tight(binary: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """One instance with one slot, and a model that it cannot hold; nobody is held for longer than a second."""
    simulated = Simulated(instances=1, models=MODELS, num_parallel=1, max_loaded_models=1, time_scale=2.0)
    async with stack_of(binary, tmp_path_factory.mktemp("tight"), simulated, SETTINGS) as running:
        yield running


async def told(session: aiohttp.ClientSession, stack: Stack, path: str, body: bytes) -> Told:
    """Return what a caller is told, who must be told so in its dialect."""
    async with session.post(stack.url + path, data=body, headers={"X-Request-Id": "mine"}) as answer:
        said: dict[str, Any] = await answer.json()
        text = said["error"] if path.startswith("/api/") else said["error"]["message"]
        expected: dict[str, Any] = {"error": text}
        if path == "/v1/messages":
            assert said.pop("request_id")
            expected = {"type": "error", "error": {"type": TYPES[path][answer.status], "message": text}}
        elif path == "/v1/chat/completions":
            expected["error"] = {"message": text, "type": TYPES[path][answer.status], "param": None, "code": None}
        assert said == expected
        instance, reason = routed(answer)
        assert (instance, answer.headers["X-Request-Id"]) == ("-", "mine")
        return answer.status, reason, text, answer.headers.get("Retry-After")


def asking(model: str, **more: object) -> bytes:
    return json.dumps(chat(model, max_tokens=5, **more)).encode()


NEAR = "model 'alhpa' not found; did you mean 'alpha:latest'?"
FITS_NOT = "model 'giant' does not fit the GPU memory of any instance: gpu0 needs 186.9 GiB of 48.0 GiB"
LARGE = (
    "the request body is larger than 65536 bytes, and its beginning names no model: put 'model' first, "
    "name it in the header X-Model, or raise max_inspected_body in the fleet file"
)
CASES = {
    "unknown": (asking("nobody"), (404, "not found", "model 'nobody' not found", None)),
    "nearly known": (asking("alhpa"), (404, "not found", NEAR, None)),
    "too large for all": (asking("giant"), (400, "cannot fit", FITS_NOT, None)),
    "no name": (asking("a b"), (400, "bad model name", "invalid model name", None)),
    "no JSON": (b'{"model": "alpha"', (400, "unreadable", "invalid JSON: ", None)),
}


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(("body", "expected"), CASES.values(), ids=CASES)
async def test_what_is_wrong_with_a_request(
    tight: Stack, session: aiohttp.ClientSession, path: str, body: bytes, expected: Told
) -> None:
    before = await seen_by(session, tight, 0)
    status, reason, text, retry_after = await told(session, tight, path, body)
    assert (status, reason, text[: len(expected[2])], retry_after) == expected
    assert await seen_by(session, tight, 0) == before


@pytest.mark.haproxy
@pytest.mark.parametrize("path", PATHS)
async def test_a_body_that_is_too_large(tight: Stack, session: aiohttp.ClientSession, path: str) -> None:
    body = json.dumps({"messages": [{"role": "user", "content": "x" * 100_000}], "model": "alpha"}).encode()
    assert await told(session, tight, path, body) == (413, "too large", LARGE, None)
    async with session.post(tight.url + path, data=body, headers={"X-Model": "nobody"}) as answer:
        assert (answer.status, "'nobody' not found" in await answer.text()) == (404, True)


async def test_a_deadline_in_the_queue_a_stream_that_breaks_and_nobody_up(
    tight: Stack, session: aiohttp.ClientSession
) -> None:
    """One request has the slot, the others' second passes; then the instance is gone. What came of the answer cannot be
    taken back, so its end must not look like one.
    """
    long = chat("alpha", options={"num_predict": 100_000})
    async with session.post(f"{tight.url}/api/chat", json=long) as running:
        await running.content.readany()
        found = await asyncio.gather(*(told(session, tight, path, asking("alpha")) for path in PATHS))
        assert found == [(503, "hold timeout", "no slot was free within 1 s; try again later", "7")] * 3
        tight.ollamas[0].signal(signal.SIGKILL)
        await tight.ollamas[0].wait()
        with pytest.raises(aiohttp.ClientPayloadError):
            await running.read()

    async def is_known() -> bool:
        return (await told(session, tight, PATHS[0], asking("alpha")))[1] == "no instance up"

    await until(is_known, DEADLINE_S, "nobody is up")
    text = "no Ollama instance that serves model 'alpha' is up; try again shortly"
    for path in PATHS:
        assert await told(session, tight, path, asking("alpha")) == (503, "no instance up", text, "7")
