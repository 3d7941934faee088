"""The dashboard's part of the admin port: the page, the stream of scenes, the last hour, a decision in words.

Nothing here changes anything: the page's buttons ask the admin port itself.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import asdict
from importlib import resources
from typing import Any

from aiohttp import web
from pydantic_core import to_json

from spoe_agent.admin import explain
from spoe_agent.admin.wording import worded
from spoe_agent.agent.agent import Agent
from spoe_agent.dashboard.broadcast import TICK_S, Broadcast, Full
from spoe_agent.dashboard.scene import MOST_HELD, scene
from spoe_agent.dashboard.trend import Trend

TYPES = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}

SAFE = {
    # No inline script, nothing from elsewhere: names of models come from clients.
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-store",
}

READS_WITHIN_S = 30.0


class Dashboard:
    """Of one agent.

    Args:
        status: returns `admin.status` as of a moment on the agent's clock, with so many held requests. It must not
            wait for anything.
        clock: the agent's, monotonic seconds.
        tick_s: how often there is a new scene.
        reads_within_s: a viewer that does not read for so long is let go.
    """

    def __init__(
        self,
        agent: Agent,
        status: Callable[[float, int | None], dict[str, Any]],
        trend: Trend,
        clock: Callable[[], float] = time.monotonic,
        tick_s: float = TICK_S,
        reads_within_s: float = READS_WITHIN_S,
    ) -> None:
        self._agent = agent
        self._status = status
        self._trend = trend
        self._clock = clock
        self._reads_within_s = reads_within_s
        self.broadcast = Broadcast(self._event, tick_s)
        folder = resources.files("spoe_agent.dashboard") / "page"
        self._files = {file.name: file.read_bytes() for file in folder.iterdir()}

    def application(self) -> web.Application:
        """Return it, to be put below a path of the admin port."""
        app = web.Application()
        app.add_routes(
            [
                web.get("/", self._index),
                web.get("/events", self._events),
                web.get("/trend", self._hour),
                web.get("/explained", self._explained),
                web.get("/{file}", self._file),
            ]
        )
        app.on_shutdown.append(self._close)
        return app

    async def _close(self, _: web.Application) -> None:
        await self.broadcast.close()

    async def _event(self) -> bytes:
        """Return an event (HTML standard, 9.2.6). Decisions are made between the steps: all at once holds them up."""
        now_s = self._clock()
        found = {**scene(self._status(now_s, MOST_HELD), self._agent, now_s), "trend": self._trend.number}
        await asyncio.sleep(0)
        text = to_json(found, inf_nan_mode="null")
        await asyncio.sleep(0)
        return b"data: %b\n\n" % text

    async def _events(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={**SAFE, "content-type": "text/event-stream", "x-accel-buffering": "no"})
        async with aclosing(self.broadcast.follow()) as events:
            try:
                async for event in events:
                    async with asyncio.timeout(self._reads_within_s):
                        await response.prepare(request)
                        await response.write(event)
            except Full as full:
                return web.json_response({"error": str(full)}, status=503)
            except (ConnectionError, TimeoutError):
                if request.transport is not None:
                    request.transport.abort()
        return response

    async def _hour(self, _: web.Request) -> web.Response:
        return web.json_response(self._trend.columns(), headers=SAFE)

    async def _explained(self, request: web.Request) -> web.Response:
        """By `id` that decision in words, by `model` where one would go now."""
        asked = request.query
        try:
            if "id" in asked:
                found = explain.one(self._agent, asked["id"], self._clock())
            else:
                found = explain.would(self._agent, asked.get("model", ""))
        except ValueError as error:
            return web.json_response({"error": str(error)}, status=400, headers=SAFE)
        if found is None:
            return web.json_response({"error": explain.NOT_KEPT.format(asked["id"])}, status=404, headers=SAFE)
        return web.json_response(asdict(worded(found)), headers=SAFE)

    async def _index(self, _: web.Request) -> web.Response:
        return self._answer("index.html")

    async def _file(self, request: web.Request) -> web.Response:
        return self._answer(request.match_info["file"])

    def _answer(self, name: str) -> web.Response:
        body = self._files.get(name)
        kind = TYPES.get(name.rpartition(".")[2])
        if body is None or kind is None:
            raise web.HTTPNotFound(headers=SAFE)
        return web.Response(body=body, content_type=kind, charset="utf-8", headers=SAFE)
