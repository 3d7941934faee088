"""Requests that cannot be routed are answered at the door, in the caller's dialect, and reach no instance."""

from __future__ import annotations

import io
import json
from typing import Any

import aiohttp
import pytest

from spoe_agent.rig.stack import Stack
from tests.e2e.conftest import chat, seen_by

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.both_fronts]

TOO_LARGE = (
    "'model' was not found in the first 4194304 bytes of the request body; "
    "put it first, or raise max_inspected_body in the fleet file"
)
HUGE = json.dumps({"messages": [{"role": "user", "content": "x" * 5_000_000}], "model": "alpha"}).encode()


def native(message: str) -> dict[str, Any]:
    return {"error": message}


def openai(message: str, kind: str) -> dict[str, Any]:
    return {"error": {"message": message, "type": kind, "param": None, "code": None}}


UNKNOWN = json.dumps(chat("nobody")).encode()
NOT_FOUND = "model 'nobody' not found"

CASES = [
    ("/api/chat", UNKNOWN, 404, native(NOT_FOUND)),
    ("/api/generate", UNKNOWN, 404, native(NOT_FOUND)),
    ("/api/show", UNKNOWN, 404, native(NOT_FOUND)),
    ("/v1/chat/completions", UNKNOWN, 404, openai(NOT_FOUND, "not_found_error")),
    ("/api/chat", b'{"model": "nobody\\u0022"}', 400, native("invalid model name")),
    ("/api/chat", b'{"model": ""}', 400, native("model is required")),
    ("/api/chat", b'{"messages": []}', 400, native("model is required")),
    ("/api/chat", b"", 400, native("missing request body")),
    (
        "/v1/embeddings",
        b'["no", "object"]',
        400,
        openai("the request body is not a JSON object", "invalid_request_error"),
    ),
]
HAPROXY_CASES = [
    ("/api/chat", b'{"model": 7}', 404, native("model '7' not found")),
    ("/api/chat", HUGE, 413, native(TOO_LARGE)),
    ("/v1/chat/completions", HUGE, 413, openai(TOO_LARGE, "api_error")),
]
"""What HAProxy reads in its own way, and how far."""


@pytest.mark.haproxy
@pytest.mark.parametrize(("path", "body", "status", "expected"), HAPROXY_CASES)
@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
async def test_answer_to_what_haproxy_reads(
    stack: Stack,
    session: aiohttp.ClientSession,
    path: str,
    body: bytes,
    status: int,
    expected: dict[str, Any],
    chunked: bool,
) -> None:
    await test_answer(stack, session, path, body, status, expected, chunked)


@pytest.mark.parametrize(("path", "body", "status", "expected"), CASES)
@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
async def test_answer(
    stack: Stack,
    session: aiohttp.ClientSession,
    path: str,
    body: bytes,
    status: int,
    expected: dict[str, Any],
    chunked: bool,
) -> None:
    async def pieces() -> Any:
        for start in range(0, len(body), 65536):
            yield body[start : start + 65536]

    before = [await seen_by(session, stack, number) for number in range(3)]
    data = pieces() if chunked else io.BytesIO(body)
    headers = {"Content-Type": "application/json", "Expect": "100-continue"}
    async with session.post(stack.url + path, data=data, headers=headers) as answer:
        assert (answer.status, await answer.json()) == (status, expected)
        assert answer.content_type == "application/json"
        assert answer.headers["x-pointsman"].startswith("- ")
    assert [await seen_by(session, stack, number) for number in range(3)] == before


async def test_anthropic_dialect(stack: Stack, session: aiohttp.ClientSession) -> None:
    async with session.post(f"{stack.url}/v1/messages", json={**chat("nobody"), "max_tokens": 5}) as answer:
        body = await answer.json()
        assert answer.status == 404
    assert body.pop("request_id")
    assert body == {"type": "error", "error": {"message": NOT_FOUND, "type": "not_found_error"}}


async def test_unreadable_json_says_where(stack: Stack, session: aiohttp.ClientSession) -> None:
    async with session.post(f"{stack.url}/api/chat", data=b'{"messages": [') as answer:
        assert answer.status == 400
        assert (await answer.json())["error"].startswith("invalid JSON: ")
