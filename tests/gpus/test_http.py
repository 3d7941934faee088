"""One page with a bound."""

import pytest
from aiohttp import web

from spoe_agent.gpus.exporter import ExporterSource
from spoe_agent.gpus.http import fetch
from spoe_agent.gpus.reading import SourceError
from spoe_agent.gpus.remote import RemoteSource
from spoe_agent.instances.http import MAX_BYTES
from spoe_agent.rig.process import free_port
from tests.gpus.web import answering


async def test_a_body_in_pieces_arrives_whole():
    async def pieces(request):
        response = web.StreamResponse()
        await response.prepare(request)
        for number in range(5):
            await response.write(b"%d" % number * 10_000)
        return response

    async with answering(gpus=pieces) as (url, session):
        assert await fetch(session, f"{url}/gpus") == b"".join(b"%d" % number * 10_000 for number in range(5))


@pytest.mark.parametrize(
    ("answer", "says"), [(404, "answered 404"), (b"x" * (MAX_BYTES + 1), f"answered more than {MAX_BYTES} bytes")]
)
async def test_anything_but_a_page_of_sane_size_is_an_error(answer, says):
    async with answering(gpus=answer) as (url, session):
        with pytest.raises(SourceError, match=says):
            await fetch(session, f"{url}/gpus")


async def test_a_redirect_is_not_followed():
    async def elsewhere(_):
        raise web.HTTPFound("/other")

    async with answering(gpus=elsewhere, other="secret") as (url, session):
        with pytest.raises(SourceError, match="answered 302"):
            await fetch(session, f"{url}/gpus")


async def test_nobody_there_is_an_error_that_says_where():
    async with answering() as (_, session):
        url = f"http://127.0.0.1:{free_port()}/gpus"
        with pytest.raises(SourceError, match=f"GET {url}: "):
            await fetch(session, url)


async def test_an_url_with_a_question():
    async def asked(request):
        return web.Response(text=request.path_qs)

    async with answering(metrics=asked) as (url, session):
        assert await fetch(session, f"{url}/metrics?name%5B%5D=x&y") == b"/metrics?name%5B%5D=x&y"


async def test_a_page_that_ends_in_the_middle_is_an_error_that_says_where():
    async def cut(request):
        response = web.StreamResponse(headers={"content-length": "9"})
        await response.prepare(request)
        await response.write(b"half")
        request.transport.abort()
        return response

    async with answering(gpus=cut) as (url, session):
        with pytest.raises(SourceError, match=f"GET {url}/gpus: "):
            await fetch(session, f"{url}/gpus")


@pytest.mark.parametrize("source", [RemoteSource, ExporterSource])
async def test_a_password_is_used_and_never_told(source):
    asked = []

    async def guarded(request):
        asked.append(request.headers["authorization"])
        return web.Response(status=500)

    async with answering(gpus=guarded) as (url, session):
        with_password = url.replace("//", "//me:SECRET@")
        one = source(session, with_password if source is RemoteSource else f"{with_password}/gpus")
        with pytest.raises(SourceError) as failure:
            await one.read(0.0)
    assert asked == ["Basic bWU6U0VDUkVU"]
    assert "SECRET" not in f"{one.name} {failure.value}"
