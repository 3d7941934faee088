"""The door's answers over HTTP: HAProxy sends lists here, as long as the agent lives."""

from __future__ import annotations

import socket

from aiohttp import web

from spoe_agent.door.answers import Answers, media_type
from spoe_agent.door.catalogue import ANSWERS


class Door:
    """Serves the door's port: lists, and a word for HAProxy's health check."""

    def __init__(self, answers: Answers) -> None:
        self._answers = answers
        app = web.Application()
        app.add_routes([web.get("/healthz", _healthz), *(web.get(path, self._get) for path in ANSWERS)])
        self._runner = web.AppRunner(app, access_log=None)

    async def listen(self, *socks: socket.socket) -> None:
        """Answer on bound sockets from now on."""
        await self._runner.setup()
        for sock in socks:
            await web.SockSite(self._runner, sock).start()

    async def close(self) -> None:
        """Stop."""
        await self._runner.cleanup()

    async def _get(self, request: web.Request) -> web.Response:
        body = await self._answers.to(request.path)
        return web.Response(body=body, headers={"Content-Type": media_type(request.path)})


async def _healthz(_: web.Request) -> web.Response:
    return web.Response(text="ok")
