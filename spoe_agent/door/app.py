"""The door over HTTP: the front end sends here what is answered for the whole fleet, as long as the agent lives."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, MutableMapping

from aiohttp import web

from spoe_agent.door.answers import Answers, media_type
from spoe_agent.door.catalogue import ANSWERS
from spoe_agent.door.change_answer import failure
from spoe_agent.door.changing import Changing
from spoe_agent.door.stream import ClientLeft
from spoe_agent.routing.choice import Writing
from spoe_agent.routing.rights import EVERYTHING, Rights
from spoe_agent.routing.surface import BLOB_PATH, MANAGE_PATHS

REQUEST_ID = "X-Pointsman-Id"
"""By this a request for a change says which decision of the agent it is about; the client has no say in it."""

MODELS = "X-Pointsman-Models"
"""By this a request for a list says which models it is to show, with commas between; the front end sets it."""

UNKNOWN = failure(503, "the agent knows nothing of this request: it was restarted just now, or has too many; try again")

OF_BODIES = ("content-length", "transfer-encoding", "expect")
"""Of a client's headers the door needs those that tell of the body."""

LEFT = 499
"""For nobody to see."""

END_S = 1.0
"""How long answers may take to their end when the agent stops."""


class Door:
    """Serves the door's port: lists, changes of several model stores, and a word for HAProxy's health check.

    A change is made only as the agent decided it, and once.
    """

    def __init__(
        self,
        answers: Answers,
        changing: Changing,
        writings: MutableMapping[str, tuple[Writing, ...]],
        retry_after_s: Callable[[], int],
    ) -> None:
        """`writings`: what was decided, by the request's id; each is taken out when it is begun. `retry_after_s`: what
        is told with 503.
        """
        self.answers = answers
        self._retry_after_s = retry_after_s
        self._writings = writings
        self._changing = changing
        self._under_way = 0
        self._idle = asyncio.Event()
        self._idle.set()
        app = web.Application()
        app.add_routes([web.get("/healthz", _healthz), *(web.get(path, self._get) for path in ANSWERS)])
        for path in (*MANAGE_PATHS, BLOB_PATH + "{digest}"):
            app.router.add_route("*", path, self._change)
        app.on_response_prepare.append(self._completed)
        # A client that leaves takes what it began with it, as with Ollama. Bodies are handed on as they came.
        self._runner = web.AppRunner(
            app, access_log=None, handler_cancellation=True, shutdown_timeout=END_S, auto_decompress=False
        )

    async def listen(self, *socks: socket.socket) -> None:
        """Answer on bound sockets from now on."""
        await self._runner.setup()
        for sock in socks:
            await web.SockSite(self._runner, sock).start()

    async def stop(self) -> None:
        """Take no more requests."""
        for site in list(self._runner.sites):
            await site.stop()

    async def close(self, waits: bool = False) -> None:
        """End all. `waits`: changes that are under way come to their end first."""
        await self.stop()
        if waits:
            await self._idle.wait()
        await self._runner.cleanup()

    async def _completed(self, _: web.Request, response: web.StreamResponse) -> None:
        """Ollama's answers name no server; who is turned away for now is told when to come again."""
        response.headers.pop("Server", None)
        if response.status == 503:
            response.headers["Retry-After"] = str(self._retry_after_s())

    async def _get(self, request: web.Request) -> web.Response:
        models = request.headers.get(MODELS)
        rights = EVERYTHING if models is None else Rights(models=tuple(filter(None, models.split(","))))
        body = await self.answers.to(request.path, rights)
        return web.Response(body=body, headers={"Content-Type": media_type(request.path)})

    async def _change(self, request: web.Request) -> web.StreamResponse:
        writings = self._writings.pop(request.headers.get(REQUEST_ID, ""), ())
        if not writings:
            return web.Response(status=UNKNOWN.status, body=UNKNOWN.body, headers={"Content-Type": UNKNOWN.media_type})
        self._under_way += 1
        self._idle.clear()
        try:
            return await self._changing.answer(request, writings)
        except ClientLeft:
            return web.Response(status=LEFT)
        finally:
            self._under_way -= 1
            if not self._under_way:
                self._idle.set()


async def _healthz(_: web.Request) -> web.Response:
    return web.Response(text="ok")
