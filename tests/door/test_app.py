"""The door's port, as HAProxy asks it."""

import socket
from contextlib import asynccontextmanager

import pytest
from aiohttp import ClientSession

from spoe_agent.door.answers import Answers
from spoe_agent.door.app import Door
from spoe_agent.door.catalogue import Listing
from spoe_agent.door.changing import Changing
from tests.door.test_catalogue import lists, tag


@asynccontextmanager
async def served():
    async def look():
        pass

    changing = Changing({}.get, lambda names: None, lambda: 60.0)
    door = Door(Answers(lambda: {"g0": lists(tag("a:1"))}, dict.fromkeys(Listing, look)), changing, {}, lambda: 5)
    sock = socket.create_server(("127.0.0.1", 0))
    await door.listen(sock)
    try:
        async with ClientSession(f"http://127.0.0.1:{sock.getsockname()[1]}") as client:
            yield client
    finally:
        await door.close()


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/healthz", 200),
        ("GET", "/api/tags", 200),
        ("GET", "/v1/models", 200),
        ("GET", "/api/tags?x=1", 200),
        ("POST", "/api/tags", 405),
        ("GET", "/status", 404),
        ("POST", "/restart", 404),
    ],
)
async def test_lists_and_nothing_else(method, path, status):
    async with served() as client, client.request(method, path) as answer:
        assert answer.status == status
        if path.startswith("/api/tags") and status == 200:
            assert answer.headers["Content-Type"] == "application/json; charset=utf-8"
            assert await answer.json() == {"models": [tag("a:1")]}
