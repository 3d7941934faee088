"""Bodies of all kinds and sizes: each goes where Ollama's own reading of it says, unless the agent is too late."""

from __future__ import annotations

import asyncio
import io
import json
import re
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from itertools import product
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from spoe_agent.haproxy.contract import FALLBACK, TOO_LATE, UNSET
from spoe_agent.rig.stack import Simulated, Stack
from tests.e2e import operator
from tests.e2e.conftest import routed, seen_by, stack_of, until
from tests.e2e.test_clients import use
from tests.requests.hostile import HOSTILE
from tests.requests.hostile_requests import REQUESTS, TURNED_AWAY
from tests.requests.reference import taken
from tests.requests.sent import Sent

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.both_fronts]

ALL = {**{name: Sent(body) for name, body in HOSTILE.items()}, **REQUESTS}
MIB = 1 << 20
HOMES = {"alpha": "gpu0", "beta": "gpu1", "gamma": "gpu2"}
HEADERS = {"Content-Type": "application/json"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def large(binary: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """Three instances with one model each, behind a front end that reads bodies of up to 32 MiB."""
    simulated = Simulated(instances=3, models=[(f"{name}:latest", "1GB") for name in HOMES], num_parallel=32)
    settings = {
        "models": [{"match": name, "instances": [home]} for name, home in HOMES.items()],
        "policies": {"max_inspected_body": 32 * MIB},
    }
    async with stack_of(binary, tmp_path_factory.mktemp("large"), simulated, settings) as running:
        yield running


async def sent(session: aiohttp.ClientSession, stack: Stack, body: bytes, **headers: str) -> tuple[int, str, str]:
    """Return status, instance and reason."""
    async with session.post(f"{stack.url}/api/chat", data=io.BytesIO(body), headers={**HEADERS, **headers}) as answer:
        await answer.read()
        return answer.status, *routed(answer)


async def exchanged(stack: Stack, request: Sent) -> tuple[int, str, str]:
    """Send these very bytes; return status, instance and reason."""
    reader, writer = await asyncio.open_connection("127.0.0.1", stack.fleet.listeners.front.port)
    writer.write(replace(request, headers=(*request.headers, ("Connection", "close"))).written())
    answer = await asyncio.wait_for(reader.read(), 60)
    writer.close()
    head = answer.partition(b"\r\n\r\n")[0].decode()
    instance, _, reason = re.search(r"(?im)^x-pointsman: (.*)$", head)[1].strip().partition(" ")  # type: ignore[index]
    return int(head.split()[1]), instance, reason


def heard(port: int, request: bytes) -> bytes:
    """Send what HAProxy does not take to its end, and closes the connection upon; return its answer."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        # What came before the connection was reset can be read after it; a client library gives up instead.
        with suppress(ConnectionError):
            connection.sendall(request)
        return connection.recv(65536)


def is_right(name: str, status: int, instance: str) -> bool:
    """Tell whether a request went to the home of the model that Ollama takes, or was refused."""
    # A form's query, where Ollama would look first, does not get there.
    model = (taken(replace(ALL[name], query="")) or "").rpartition("/")[2]
    if model not in HOMES or name in TURNED_AWAY:
        return 400 <= status < 500
    return instance == HOMES[model]


@pytest.mark.parametrize("names", [list(HOSTILE), list(REQUESTS)], ids=["bodies", "requests"])
async def test_hostile_requests_go_where_ollama_would_run_them(large: Stack, names: list[str]) -> None:
    # A crowd of large ones is another test's.
    turn = asyncio.Semaphore(8)

    async def one(name: str) -> tuple[int, str, str]:
        async with turn:
            return await exchanged(large, ALL[name])

    found = dict(zip(names, await asyncio.gather(*map(one, names)), strict=True))
    wrong = {
        name: (taken(ALL[name]), *said)
        for name, said in found.items()
        if not is_right(name, *said[:2]) or said[2] == FALLBACK
    }
    assert not wrong


async def test_a_forms_query_does_not_get_to_ollama(large: Stack, session: aiohttp.ClientSession) -> None:
    await exchanged(large, ALL["in the query too"])
    seen = [one for number in range(3) for one in await seen_by(session, large, number)]
    assert {one["query"] for one in seen if one["path"] == "/v1/audio/transcriptions"} == {""}


def image(mebibytes: float, *, is_last: bool = True, model: str = "gamma") -> bytes:
    """Return a body of a bit less than so many MiB, most of it an image."""
    messages = [{"role": "user", "content": "hi", "images": ["A" * (int(mebibytes * MIB) - 500)]}]
    rest = {"messages": messages, "stream": False}
    return json.dumps({**rest, "model": model} if is_last else {"model": model, **rest}).encode()


SIZES = [(5, True), (32, True), (32, False), (40, False)]


@pytest.mark.parametrize(("mebibytes", "is_last"), SIZES)
async def test_large_bodies(large: Stack, session: aiohttp.ClientSession, mebibytes: int, is_last: bool) -> None:
    status, instance, reason = await sent(session, large, image(mebibytes, is_last=is_last))
    assert (status, instance) == (200, "gpu2")
    assert reason != "fallback"


def prose(before: int, behind: int) -> bytes:
    """Return a body of characters of four bytes; more of one byte move where its parts are cut."""
    content = "x" * before + "\N{GRINNING FACE}" * 25_000 + "x" * behind
    return json.dumps(
        {"messages": [{"role": "user", "content": content}], "model": "gamma"}, ensure_ascii=False
    ).encode()


async def test_prose_that_is_cut_within_a_character(large: Stack, session: aiohttp.ClientSession) -> None:
    """The beginning and the end that HAProxy sends along begin and end at each of a character's bytes."""
    for before, behind in product(range(4), range(4)):
        body = prose(before, behind)
        status, instance, reason = await sent(session, large, body)
        assert (status, instance, reason == FALLBACK) == (200, "gpu2", False), (before, behind)


@pytest.mark.haproxy
async def test_what_is_too_large_is_named_by_a_header(large: Stack, session: aiohttp.ClientSession) -> None:
    answer = await asyncio.to_thread(heard, large.fleet.listeners.front.port, Sent(image(33)).written())
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"x-pointsman: - too large\r\n" in answer
    status, instance, _ = await sent(session, large, image(33), **{"X-Model": "gamma"})
    assert (status, instance) == (200, "gpu2")


ESCAPED = image(3.9).replace(b'"model": "gamma"', b'"model": "library\\/gamma"')
HIDDEN = image(3.9)[:-1] + b', "tools": [{"model": 1}], "x": "' + b"x" * 20_000 + b'"}'
CROWDS = {"1 MB, last": (32, image(1)), "3.9 MB, escaped": (8, ESCAPED), "3.9 MB, in the middle": (8, HIDDEN)}


@pytest.mark.haproxy
@pytest.mark.parametrize("name", CROWDS)
async def test_a_crowd(large: Stack, session: aiohttp.ClientSession, name: str) -> None:
    """On a machine that is busy with other things too, some answers come after HAProxy's second; nothing else keeps a
    request from being decided.
    """
    number, body = CROWDS[name]
    before = len(log_lines(large))
    found = await asyncio.gather(*(sent(session, large, body) for _ in range(number)))

    async def are_logged() -> bool:
        return len(log_lines(large)) >= before + number

    await until(are_logged, 10, "a line for each")
    lines = log_lines(large)[before:]
    assert {(status, instance) for status, instance, reason in found if reason != FALLBACK} == {(200, "gpu2")}
    assert {line["spoe_error"] for line in lines if line["reason"] == FALLBACK} <= {TOO_LATE}
    assert {line["spoe_error"] for line in lines if line["reason"] != FALLBACK} == {UNSET}


@pytest.mark.haproxy
async def test_a_large_body_is_sent_again_when_an_instance_refuses(
    binary: str, tmp_path_factory: pytest.TempPathFactory, session: aiohttp.ClientSession
) -> None:
    simulated = Simulated(instances=2, models=[("gamma:latest", "1GB")])
    async with stack_of(binary, tmp_path_factory.mktemp("refused"), simulated) as stack:
        _, instance, _ = await sent(session, stack, image(1))
        ollama = stack.ollamas[int(instance.removeprefix("gpu"))]
        ollama.signal(signal.SIGKILL)
        await ollama.wait()
        for body, headers in ((image(5), {}), (image(40), {"X-Model": "gamma"})):
            status, other, _ = await sent(session, stack, body, **headers)
            assert status == 200
            assert other != instance


@pytest.mark.haproxy
async def test_what_stays_unread_is_turned_away_at_once(
    binary: str, tmp_path_factory: pytest.TempPathFactory, session: aiohttp.ClientSession
) -> None:
    """The agent dies over a body that takes it seconds. It is not brought to the next one, nor to an instance."""
    body = b'{"x":[' + b'{"model":1},' * 2_500_000 + b'1],"model":"gamma"}'
    simulated = Simulated(instances=2, models=[("gamma:latest", "1GB")])
    async with stack_of(binary, tmp_path_factory.mktemp("unread"), simulated) as stack:
        asked = (await operator.status(session, stack))["haproxy"]["questions"]

        async def is_inspected() -> bool:
            return bool((await operator.status(session, stack))["haproxy"]["questions"] == asked + 2)

        request = asyncio.ensure_future(session.post(f"{stack.url}/api/chat", data=io.BytesIO(body), headers=HEADERS))
        await until(is_inspected, 20, "the agent reads it")
        stack.agent.signal(signal.SIGKILL)
        async with await request as answer:
            told = answer.status, answer.headers["Retry-After"], await answer.json()
        assert told == (503, "5", {"error": "the request body could not be read; try again shortly"})
        assert routed(answer) == ("-", "unread")

        async def is_logged() -> bool:
            return any(one["reason"] == "unread" for one in log_lines(stack))

        await until(is_logged, 20, "the line has come")
        (line,) = [one for one in log_lines(stack) if one["reason"] == "unread"]
        assert line["spoe_error"] not in ("-", "5")


@pytest.mark.haproxy
async def test_a_description_may_name_its_model_anywhere(large: Stack, session: aiohttp.ClientSession) -> None:
    body = json.dumps({"system": "x" * 60_000, "a": {"model": 1}, "b": "y" * 60_000, "model": "gamma"}).encode()
    async with session.post(f"{large.url}/api/show", data=io.BytesIO(body), headers=HEADERS) as answer:
        assert (answer.status, routed(answer)[1]) == (200, "describe")


def log_lines(stack: Stack) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stack.haproxy.output.read_text().splitlines() if line.startswith("{")]


async def test_over_http_2(large: Stack) -> None:
    got = await use("use_http2.py", large.url, str(MIB))
    assert (got["version"], got["status"], got["to"].partition(" ")[0]) == ("HTTP/2", 200, HOMES["gamma"])
