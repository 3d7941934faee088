"""Requests that cannot be routed are answered at the door, in the caller's dialect, and reach no instance."""

from __future__ import annotations

import io
import json
from typing import Any

import aiohttp
import pytest

from spoe_agent.rig.stack import Stack
from tests.e2e.conftest import chat, seen_by
from tests.requests import errors

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.both_fronts]

TOO_LARGE = (
    "the request body is larger than 4194304 bytes, and its beginning names no model: put 'model' first, "
    "name it in the header X-Model, or raise max_inspected_body in the fleet file"
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
    ("/v1/chat/completions", UNKNOWN, 404, openai(NOT_FOUND, "not_found_error")),
    ("/api/chat", b'{"model": "nobody\\u0022"}', 400, native("invalid model name")),
    ("/api/chat", b"", 400, native("missing request body")),
    (
        "/v1/embeddings",
        b'["no", "object"]',
        400,
        openai("json: cannot unmarshal array into Go value of type openai.EmbedRequest", "invalid_request_error"),
    ),
]
HAPROXY_CASES = [
    ("/api/chat", HUGE, 413, native(TOO_LARGE)),
    ("/v1/chat/completions", HUGE, 413, openai(TOO_LARGE, "api_error")),
]
"""How far HAProxy reads."""


@pytest.mark.haproxy
@pytest.mark.parametrize(("path", "body", "status", "expected"), HAPROXY_CASES)
@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
async def test_answer_to_what_haproxy_does_not_read(
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


TYPES = {400: "invalid_request_error", 404: "not_found_error"}


async def test_errors_are_in_ollamas_own_words(stack: Stack, session: aiohttp.ClientSession) -> None:
    """Each with its status, text, shape and media type, and none of them reaches an instance."""
    before = [await seen_by(session, stack, number) for number in range(3)]
    found, expected = {}, {}
    for name, (path, body, status, text) in errors.cases().items():
        async with session.post(stack.url + path, data=body) as answer:
            raw = await answer.read()
            told = json.loads(raw)
            assert raw == raw.rstrip(), name  # clients show it as it comes
            found[name] = (answer.status, answer.headers["Content-Type"], told)
        told.pop("request_id", None)
        media_type = "application/json" if path.startswith("/v1/") else "application/json; charset=utf-8"
        shape = native(text) if path.startswith("/api/") else openai(text, TYPES[status])
        if path == "/v1/messages":
            shape = {"type": "error", "error": {"type": TYPES[status], "message": text}}
        expected[name] = (status, media_type, shape)
    assert {name: one for name, one in found.items() if one != expected[name]} == {}
    assert [await seen_by(session, stack, number) for number in range(3)] == before


@pytest.mark.parametrize("body", [{"model": "", "name": "alpha"}, {"name": "alpha"}, {"model": "alpha", "name": "x"}])
async def test_show_by_name_as_the_command_line_client_asks(
    stack: Stack, session: aiohttp.ClientSession, body: dict[str, str]
) -> None:
    async with session.post(f"{stack.url}/api/show", json=body) as answer:
        assert (answer.status, answer.headers["x-pointsman"].partition(" ")[2]) == (200, "describe")
        assert "details" in await answer.json()


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


async def test_an_encoding_is_the_whole_header(stack: Stack, session: aiohttp.ClientSession) -> None:
    """Ollama unpacks what is said to be `zstd`, and nothing else."""
    headers = {"Content-Encoding": "br, zstd"}
    body = b'{"mod\\u0065l": "nobody", "messages": [{"role": "user", "content": "hello"}]}'
    async with session.post(f"{stack.url}/v1/chat/completions", data=body, headers=headers) as answer:
        assert (answer.status, await answer.json()) == (404, openai(NOT_FOUND, "not_found_error"))
