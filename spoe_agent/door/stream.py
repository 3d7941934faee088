"""A client's answer that comes line by line, where the stores answer so, and else as a whole."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from aiohttp import web

from spoe_agent.door.change_answer import ChangeAnswer
from spoe_agent.door.progress import NDJSON, SUCCESS, Line, written


class ClientLeft(Exception):
    """Nobody reads the answer any more."""


class Stream:
    """One answer; several tasks may have something to say."""

    def __init__(self, request: web.Request) -> None:
        self._request = request
        self._response: web.StreamResponse | None = None
        self._turn = asyncio.Lock()

    async def say(self, lines: Sequence[Line]) -> None:
        """Send lines; the first begin the answer. Raises ClientLeft."""
        if not lines:
            return
        try:
            async with self._turn:
                if self._response is None:
                    self._response = web.StreamResponse(headers={"Content-Type": NDJSON})
                    await self._response.prepare(self._request)
                await self._response.write(b"".join(map(written, lines)))
        except ConnectionError as error:
            raise ClientLeft from error

    async def end(self, answer: ChangeAnswer) -> web.StreamResponse:
        """Send the end, which is all of it where nothing was sent. Raises ClientLeft."""
        if self._response is None:
            headers = {"Content-Type": answer.media_type} if answer.media_type else None
            return web.Response(status=answer.status, body=answer.body, headers=headers)
        await self.say([{"error": answer.error} if answer.error else SUCCESS])
        await self._response.write_eof()
        return self._response
