"""Foreign pages and foreign host names, at real front ends: the tables of tests/requests/test_foreign.py."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from spoe_agent.rig.stack import Stack
from tests.e2e.conftest import chat, seen_by, until
from tests.e2e.test_clients import use
from tests.requests.test_foreign import HOSTS, ORIGINS

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.both_fronts]

ASKED = "authorization,content-type,x-stainless-os"


async def raw(stack: Stack, request: str) -> tuple[int, dict[str, str], bytes]:
    """Send a request as it is written here, and return status, headers and body."""
    reader, writer = await asyncio.open_connection("127.0.0.1", stack.fleet.listeners.front.port)
    writer.write(request.replace("\n", "\r\n").encode())
    answer = await asyncio.wait_for(reader.read(), 20)
    writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return int(status.split()[1]), headers, body


async def test_hosts(stack: Stack) -> None:
    found = {}
    for host in HOSTS:
        status, headers, _ = await raw(stack, f"GET /api/version HTTP/1.1\nHost: {host}\nConnection: close\n\n")
        assert (status == 403) == (headers["x-pointsman"] == "- foreign host")
        found[host] = status != 403
    assert found == HOSTS


FORBIDDEN = "this server does not go by the name evil.example; allowed_hosts in the fleet file says by which it does"
PAGE = "pages of https://evil.example may not call; allowed_origins in the fleet file says which may"


def dialects(message: str) -> list[tuple[str, str, dict[str, Any]]]:
    openai = {"error": {"message": message, "type": "api_error", "param": None, "code": None}}
    return [
        ("GET", "/api/tags", {"error": message}),
        ("POST", "/v1/chat/completions", openai),
        ("POST", "/v1/messages", {"type": "error", "error": {"message": message, "type": "permission_error"}}),
    ]


@pytest.mark.parametrize(("method", "path", "expected"), dialects(FORBIDDEN))
@pytest.mark.parametrize(
    "form",
    [
        "{method} {path} HTTP/1.1\nHost: evil.example:80",
        "{method} http://evil.example{path} HTTP/1.1\nHost: evil.example",
    ],
    ids=["origin-form", "absolute-form"],
)
async def test_a_foreign_host_is_told_in_its_dialect(
    stack: Stack, session: aiohttp.ClientSession, method: str, path: str, expected: dict[str, Any], form: str
) -> None:
    before = [await seen_by(session, stack, number) for number in range(3)]
    body = json.dumps(chat("alpha"))
    request = form.format(method=method, path=path) + f"\nContent-Length: {len(body)}\nConnection: close\n\n{body}"
    status, headers, answer = await raw(stack, request)
    told = json.loads(answer)
    told.pop("request_id", None)
    assert (status, told) == (403, expected)
    assert headers["x-pointsman"] == "- foreign host"
    assert [await seen_by(session, stack, number) for number in range(3)] == before


async def test_without_a_host_a_request_passes_but_an_absolute_target_names_one(stack: Stack) -> None:
    assert (await raw(stack, "GET /api/version HTTP/1.0\n\n"))[0] == 200
    assert (await raw(stack, "GET http://evil.example/api/version HTTP/1.0\n\n"))[0] == 403


async def test_the_authority_of_http2_is_a_host(stack: Stack) -> None:
    assert (await use("use_http2.py", stack.url, "10"))["status"] == 200
    assert (await use("use_http2.py", stack.url, "10", "evil.example"))["status"] == 403


async def test_origins(stack: Stack, session: aiohttp.ClientSession) -> None:
    """A page that may not call gets no header that lets it read the answer, and one that may call does."""
    found = {}
    for origin in ORIGINS:
        headers = {"Origin": origin}
        async with session.post(f"{stack.url}/api/chat", json=chat("alpha", stream=False), headers=headers) as answer:
            found[origin] = answer.status == 200
            assert (answer.headers["x-pointsman"] == "- foreign origin") == (answer.status == 403)
            allowed = answer.headers.get("Access-Control-Allow-Origin")
        assert allowed == (origin if ORIGINS[origin] and origin else None)
    assert found == ORIGINS


@pytest.mark.parametrize(("method", "path", "expected"), dialects(PAGE))
async def test_a_foreign_page_is_told_in_its_dialect(
    stack: Stack, session: aiohttp.ClientSession, method: str, path: str, expected: dict[str, Any]
) -> None:
    headers = {"Origin": "https://evil.example"}
    async with session.request(method, stack.url + path, json=chat("alpha"), headers=headers) as answer:
        told = await answer.json()
        assert answer.status == 403
    told.pop("request_id", None)
    assert told == expected


@pytest.mark.parametrize("path", ["/api/chat", "/v1/chat/completions", "/nowhere"])
async def test_a_preflight_gets_leave_for_every_header_it_asks_for(
    stack: Stack, session: aiohttp.ClientSession, path: str
) -> None:
    origin = "http://localhost:3000"
    headers = {"Origin": origin, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": ASKED}
    async with session.options(stack.url + path, headers=headers) as answer:
        assert answer.status == 204
        assert answer.headers["Access-Control-Allow-Headers"] == ASKED
        assert answer.headers["Access-Control-Allow-Origin"] == origin
        assert "POST" in answer.headers["Access-Control-Allow-Methods"]
    headers["Origin"] = "https://evil.example"
    async with session.options(stack.url + path, headers=headers) as answer:
        assert answer.status == 403
        assert "Access-Control-Allow-Headers" not in answer.headers


async def test_a_page_of_the_servers_own_name_may_call(stack: Stack, session: aiohttp.ClientSession) -> None:
    headers = {"Host": "ui.local:8080", "Origin": "http://ui.local:8080"}
    async with session.post(f"{stack.url}/api/chat", json=chat("alpha", stream=False), headers=headers) as answer:
        assert answer.status == 200
    headers = {"Host": "evil.example", "Origin": "http://evil.example"}
    async with session.post(f"{stack.url}/api/chat", json=chat("alpha", stream=False), headers=headers) as answer:
        assert answer.status == 403


@pytest.mark.haproxy
@pytest.mark.parametrize(
    ("headers", "reason"), [({"Origin": "https://log.example"}, "origin"), ({"Host": "log.example"}, "host")]
)
async def test_the_log_says_why(
    stack: Stack, session: aiohttp.ClientSession, headers: dict[str, str], reason: str
) -> None:
    path = f"/api/tags-{reason}"

    async def is_logged() -> bool:
        lines = [json.loads(line) for line in Path(stack.haproxy.output).read_text().splitlines() if line[:1] == "{"]
        return any((line["path"], line["reason"]) == (path, f"foreign {reason}") for line in lines)

    async with session.get(stack.url + path, headers=headers) as answer:
        assert answer.status == 403
    await until(is_logged, 10, "HAProxy's line")
