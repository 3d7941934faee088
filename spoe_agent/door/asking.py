"""One instance asked to make a change: its progress line by line, then its answer."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from dataclasses import dataclass

import aiohttp
from aiohttp import web
from yarl import URL

from spoe_agent.door.change_answer import OWN, ChangeAnswer, failure
from spoe_agent.door.progress import NDJSON, Line
from spoe_agent.door.tee import Feed
from spoe_agent.instances.http import Remote
from spoe_agent.instances.lists import UnexpectedAnswer
from spoe_agent.routing.surface import BLOB_PATH

MAX_BYTES = 1024 * 1024
"""Of an answer that is no stream."""


@dataclass(frozen=True, slots=True)
class Order:
    """What each store is asked."""

    method: str
    path: str
    """Quoted as it came."""
    headers: Mapping[str, str]
    has_body: bool
    is_of_file: bool
    """It is about a file, which is no model yet."""

    @classmethod
    def of(cls, request: web.Request) -> Order:
        """Return what a client's request asks. Of its headers Ollama needs none."""
        headers = {"Content-Type": "application/json", "X-Request-Id": request.headers.get("X-Request-Id", "")}
        if request.content_length is not None:
            headers["Content-Length"] = str(request.content_length)
        is_of_file = request.path.startswith(BLOB_PATH)
        return cls(request.method, request.rel_url.raw_path, headers, request.can_read_body, is_of_file)

    @property
    def is_upload(self) -> bool:
        """A file comes with it."""
        return self.method == "POST" and self.is_of_file


async def asked(
    session: aiohttp.ClientSession, order: Order, to: Remote, feed: Feed
) -> AsyncGenerator[Line | ChangeAnswer, None]:
    """Yield what an instance says of its progress, if that is what it answers with, and at last its answer. Raises
    FAILURES; ClientConnectorError before anything was sent.
    """
    url, headers = URL(to.url + order.path, encoded=True), {**order.headers, **to.headers}
    if order.is_upload:
        about = {name: value for name, value in headers.items() if name != "Content-Length"}
        async with session.head(url, headers=about, ssl=to.tls) as response:
            if response.status == 200:
                yield ChangeAnswer(200)
                return
    data = feed.chunks() if order.has_body else None
    async with session.request(order.method, url, data=data, headers=headers, ssl=to.tls) as response:
        if response.content_type != NDJSON:
            yield await _whole(response)
            return
        async for line in _lines(response):
            if line.get("error"):
                yield failure(OWN, str(line["error"]))
                return
            yield line
    yield ChangeAnswer(200)


async def _lines(response: aiohttp.ClientResponse) -> AsyncIterator[Line]:
    try:
        async for text in response.content:
            line = json.loads(text)
            if not isinstance(line, dict):
                raise ValueError("no object")
            yield line
    except (ValueError, RecursionError) as error:
        raise UnexpectedAnswer(f"answered a line that cannot be read: {error}") from error


async def _whole(response: aiohttp.ClientResponse) -> ChangeAnswer:
    body = await response.content.read(MAX_BYTES)
    while not response.content.at_eof():
        more = await response.content.read(MAX_BYTES)
        if len(body) + len(more) > MAX_BYTES:
            raise UnexpectedAnswer(f"answered more than {MAX_BYTES} bytes")
        body += more
    media_type = response.headers.get("Content-Type", "")
    if response.status < 400:
        return ChangeAnswer(response.status, body, media_type)
    return ChangeAnswer(response.status, body, media_type, _error(body) or f"answered {response.status}")


def _error(body: bytes) -> str:
    """Return what an error's body says."""
    text = body.decode("utf-8", "replace").strip()
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return str(found.get("error", "")) if isinstance(found, dict) else text
