"""The door's answers over HTTP: HAProxy sends lists here, as long as the agent lives."""

from __future__ import annotations

from aiohttp import web

from spoe_agent.door.answers import Answers, media_type
from spoe_agent.door.catalogue import ANSWERS


def routes(answers: Answers) -> list[web.RouteDef]:
    """Return what a server is to answer."""

    async def get(request: web.Request) -> web.Response:
        return web.Response(body=await answers.to(request.path), headers={"Content-Type": media_type(request.path)})

    return [web.get(path, get) for path in ANSWERS]
