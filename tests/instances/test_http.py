"""One GET with a bound, and the session for many."""

import asyncio
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from spoe_agent.instances.http import MAX_BYTES, Answer, Remote, TooLong, get, said, unlimited_session
from spoe_agent.rig.process import free_port

DEADLINE_S = 30
MORE_THAN_AIOHTTP_ALLOWS = 101


@asynccontextmanager
async def asked(handler):
    """A server that answers everything with a handler; gives a way to GET from it."""
    app = web.Application()
    app.router.add_get("/{path:.*}", handler)
    async with TestServer(app, host="127.0.0.1") as server, unlimited_session() as session:
        async with asyncio.timeout(DEADLINE_S):
            yield lambda path: get(session, Remote(str(server.make_url(path))))


def in_pieces(*pieces):
    async def handler(request):
        response = web.StreamResponse()
        await response.prepare(request)
        for piece in pieces:
            await response.write(piece)
        return response

    return handler


async def test_an_answer_with_its_status_and_what_was_asked_for():
    async def handler(request):
        return web.Response(status=418, text=request.path_qs)

    async with asked(handler) as ask:
        assert await ask("/metrics?name=x&y=1") == Answer(418, b"/metrics?name=x&y=1")


async def test_a_body_in_pieces_arrives_whole():
    pieces = [b"%d" % number * 10_000 for number in range(5)]
    async with asked(in_pieces(*pieces)) as ask:
        assert await ask("/") == Answer(200, b"".join(pieces))


async def test_a_body_may_have_no_more_than_the_bound():
    async with asked(in_pieces(bytes(MAX_BYTES))) as ask:
        assert len((await ask("/")).body) == MAX_BYTES
    async with asked(in_pieces(bytes(MAX_BYTES), b"x")) as ask:
        with pytest.raises(TooLong, match=f"answered more than {MAX_BYTES} bytes"):
            await ask("/")


async def test_a_redirect_is_an_answer():
    async def elsewhere(_):
        return web.Response(status=302, headers={"location": "/other"})

    async with asked(elsewhere) as ask:
        assert (await ask("/")).status == 302


async def test_an_answer_that_ends_in_the_middle():
    async def cut(request):
        response = web.StreamResponse(headers={"content-length": "9"})
        await response.prepare(request)
        await response.write(b"half")
        request.transport.abort()
        return response

    async with asked(cut) as ask:
        with pytest.raises(aiohttp.ClientError):
            await ask("/")


async def test_nobody_waits_for_those_that_do_not_answer():
    hang, arrived = asyncio.Event(), []

    async def handler(request):
        arrived.append(request.path)
        await (hang.wait() if len(arrived) < MORE_THAN_AIOHTTP_ALLOWS else asyncio.sleep(0))
        hang.set()
        return web.Response()

    async with asked(handler) as ask:
        answers = await asyncio.gather(*(ask(f"/{number}") for number in range(MORE_THAN_AIOHTTP_ALLOWS)))
    assert [answer.status for answer in answers] == [200] * MORE_THAN_AIOHTTP_ALLOWS


async def test_what_went_wrong_is_said_in_words():
    async with unlimited_session() as session:
        with pytest.raises(aiohttp.ClientConnectorError) as refused:
            await get(session, Remote(f"http://127.0.0.1:{free_port()}"), "/")
    assert said(refused.value) == "connection refused"
    async with unlimited_session() as session:
        with pytest.raises(aiohttp.ClientConnectorDNSError) as unknown:
            await get(session, Remote("http://no-such-host.invalid"), "/")
    assert "no-such-host.invalid" in said(unknown.value)
    assert said(TooLong("answered more")) == "answered more"
    assert said(aiohttp.ServerDisconnectedError()) == "Server disconnected"
    assert said(ConnectionResetError()) == "ConnectionResetError"
