"""The server over real sockets: when bytes go out, what leaving does, life cycle."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest

from tests.simulator.client import DEADLINE_S, simulated
from tests.simulator.scenario import PROFILE

CHAT = {"model": "a", "messages": [{"role": "user", "content": "hello"}]}


ENDLESS = CHAT | {"options": {"num_predict": 10**6}}


async def raw(port, body, path="/api/chat"):
    """Send a request over a bare socket."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body)
    return reader, writer


async def test_nothing_is_sent_before_the_first_token():
    async with simulated() as client:
        await client.fault("wedged_loader")
        reader, writer = await raw(client.port, b'{"model":"a","messages":[{"role":"user","content":"x"}]}')
        await client.until(in_flight=1)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(1), 0.1)
        await client.fault("none")
        first = await asyncio.wait_for(reader.read(1000), DEADLINE_S)
        assert first.startswith(b"HTTP/1.1 200 OK\r\n")
        writer.close()


async def test_tokens_come_one_by_one_and_leaving_frees_the_slot():
    async with simulated() as client:
        async with client.session.post("/api/chat", json=ENDLESS) as response:
            for _ in range(3):
                assert b'"done":false' in await response.content.readline()
            await client.until(in_flight=1)
            response.close()
        stats = await client.until(in_flight=0)
        assert (stats["cancelled"], stats["served"]) == (1, {})
        status, answer = await client.post("/api/chat", CHAT | {"stream": False})
        assert (status, answer["done"]) == (200, True)


async def test_leaving_during_the_load_aborts_it():
    async with simulated(time_scale=0.1) as client:
        _, writer = await raw(client.port, b'{"model":"a","prompt":"x"}', "/api/generate")
        await client.until(in_flight=1)
        writer.close()
        stats = await client.until(in_flight=0, aborted_loads=1)
        assert stats["loads"] == {}


async def test_queue_full_is_503_in_the_dialect_of_the_path():
    text = "server busy, please try again.  maximum pending requests exceeded"
    async with simulated(max_queue=0) as client:
        assert await client.post("/api/chat", CHAT) == (503, {"error": text})
        error = {"message": text, "type": "api_error", "param": None, "code": None}
        assert await client.post("/v1/chat/completions", CHAT) == (503, {"error": error})
        status, answer = await client.post("/v1/messages", CHAT | {"max_tokens": 5})
        assert (status, answer["error"]) == (503, {"type": "overloaded_error", "message": text})


async def test_stop_cuts_streams_and_a_restart_is_empty():
    async with simulated() as client:
        async with client.session.post("/api/chat", json=ENDLESS) as response:
            await response.content.readline()
            await client.server.stop()
            with pytest.raises(aiohttp.ClientError):
                await response.read()
        assert await client.server.start(port=client.port) == client.port
        assert await client.get("/api/ps") == (200, {"models": []})


async def test_stop_twice_does_no_harm():
    async with simulated() as client:
        await client.server.stop()
        await client.server.stop()


@pytest.mark.parametrize(
    ("method", "path", "status", "text"),
    [
        ("GET", "/", 200, "Ollama is running"),
        ("HEAD", "/", 200, ""),
        ("HEAD", "/api/tags", 200, ""),
        ("GET", "/nowhere", 404, "404 page not found"),
        ("GET", "/api/chat", 405, "405 method not allowed"),
        ("DELETE", "/api/ps", 405, "405 method not allowed"),
    ],
)
async def test_routes(method, path, status, text):
    async with simulated() as client, client.session.request(method, path) as response:
        assert (response.status, await response.text()) == (status, text)
        assert response.headers["Content-Type"].startswith("application/json" if "tags" in path else "text/plain")
        assert "Server" not in response.headers


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("POST", "/api/chat/", 307), ("GET", "/api/tags/", 301), ("GET", "/nowhere/", 404)],
)
async def test_trailing_slash(method, path, status):
    async with simulated() as client, client.session.request(method, path, allow_redirects=False) as response:
        assert response.status == status
        assert response.headers.get("Location") == (path[:-1] if status != 404 else None)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "front.example"}, 403),
        ({"Host": "localhost:11434"}, 200),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "http://localhost:3000"}, 200),
    ],
)
async def test_host_and_origin_checks_answer_without_a_body(headers, status):
    async with simulated() as client, client.session.get("/api/version", headers=headers) as response:
        assert response.status == status
        assert (await response.read() == b"") == (status == 403)
        assert response.headers.get("Access-Control-Allow-Origin") == (headers.get("Origin") if status == 200 else None)


async def test_preflight():
    headers = {"Origin": "http://localhost"}
    async with simulated() as client, client.session.options("/api/chat", headers=headers) as response:
        assert response.status == 204
        assert response.headers["Access-Control-Allow-Origin"] == "http://localhost"


async def test_requests_are_on_record():
    async with simulated() as client:
        await client.post("/api/chat", CHAT | {"stream": False}, **{"X-Request-Id": "r1", "Host": "localhost"})
        _, answer = await client.get("/sim/requests")
    (record,) = answer["requests"]
    assert record.pop("at") > 0
    assert {"host", "x-request-id"} <= set(record.pop("headers"))
    assert record.pop("query") == ""
    assert record == {
        "method": "POST",
        "path": "/api/chat",
        "request_id": "r1",
        "host": "localhost",
        "origin": None,
        "traceparent": None,
        "model": "a",
        "status": 200,
    }


async def test_run_serves_until_cancelled():
    async with simulated() as client:
        await client.server.stop()
        running = asyncio.ensure_future(client.server.run("127.0.0.1", client.port))
        await client_answers(client)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        with pytest.raises(aiohttp.ClientError):
            await client.get("/api/version")


async def client_answers(client):
    async with asyncio.timeout(DEADLINE_S):
        while True:
            try:
                return await client.get("/api/version")
            except aiohttp.ClientError:
                await asyncio.sleep(0.01)


def test_the_numbers_of_the_scenario_are_not_ollamas_defaults():
    # The tests above rely on fast loads; a change there would make them slow without a word.
    assert PROFILE.load_fixed_s + 10e9 / PROFILE.load_bytes_per_s == 2.0
