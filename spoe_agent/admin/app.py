"""The agent's admin port: GET /status, /metrics, /explain; POST /instances/NAME/drain, ready, preload; /reload,
/reload/undo, /restart; and /dashboard/, what people watch.

It changes where requests go, so it listens on loopback unless the fleet file says otherwise, asks for a key where that
says so (`keys.admin`), and takes no request that a web page could make another's browser send.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict
from typing import Any

from aiohttp import web

from spoe_agent.admin import explain
from spoe_agent.admin.reload import Reloader
from spoe_agent.agent.agent import Agent
from spoe_agent.instances.watch import Watch
from spoe_agent.keys.operators import Operators
from spoe_agent.metrics.exposition import CONTENT_TYPE, Exposition
from spoe_agent.process.succession import Failed
from spoe_agent.requests.foreign import host_name, is_known, is_same
from spoe_agent.routing.names import canonical

_UNTIL_RESTART = "Until the agent restarts: it has no state file that it can write (serve --state)"
_NOT_TOLD = "HAProxy does not know yet: it has not asked the agent since (listeners.check)"


class Admin:
    """Serves one agent's admin port.

    Args:
        keep: writes down what was done by hand, and tells whether it could.
        restart: puts a new agent in this one's place, and returns its process id. Raises Failed.
        operators: who may come, where a key is asked for.
        names: by which this port goes besides those of every machine, `*` for any part.
        dashboard: what stands below /dashboard/.
        bring_back: has an instance that was started anew load models, by canonical key.
        told: waits, not for long, until HAProxy knows what was done to an instance; tells whether it does.
    """

    def __init__(
        self,
        agent: Agent,
        watch: Watch,
        status: Callable[[], Awaitable[dict[str, Any]]],
        keep: Callable[[], bool],
        told: Callable[[str], Awaitable[bool]],
        reloader: Reloader,
        restart: Callable[[], Awaitable[int]],
        bring_back: Callable[[str, Sequence[str]], Awaitable[None]],
        metrics: Exposition,
        names: Callable[[], Sequence[str]],
        dashboard: web.Application,
        operators: Operators,
    ) -> None:
        self._agent = agent
        self._watch = watch
        self._status = status
        self._keep = keep
        self._told = told
        self._reloader = reloader
        self._restart = restart
        self._bring_back = bring_back
        self._metrics = metrics
        self._names = names
        self._operators = operators
        app = web.Application(middlewares=[self._guarded])
        app.add_subapp("/dashboard/", dashboard)
        app.add_routes(
            [
                web.get("/", self._to_dashboard),
                web.get("/status", self._get_status),
                web.get("/metrics", self._get_metrics),
                web.get("/explain", self._explain),
                web.post("/instances/{name}/drain", self._drain),
                web.post("/instances/{name}/ready", self._ready),
                web.post("/instances/{name}/preload", self._preload),
                web.post("/reload", self._reload),
                web.post("/reload/undo", self._undo),
                web.post("/restart", self._restarted),
            ]
        )
        app.on_response_prepare.append(_for_no_other_page)
        self._runner = web.AppRunner(app, access_log=None)

    async def listen(self, sock: socket.socket) -> None:
        """Answer on a bound socket from now on."""
        await self._runner.setup()
        await web.SockSite(self._runner, sock).start()

    async def close(self) -> None:
        """Stop."""
        await self._runner.cleanup()

    async def _to_dashboard(self, _: web.Request) -> web.Response:
        raise web.HTTPFound("dashboard/")

    async def _get_status(self, _: web.Request) -> web.Response:
        return web.json_response(await self._status(), headers={"cache-control": "no-store"})

    async def _get_metrics(self, _: web.Request) -> web.Response:
        return web.Response(body=await self._metrics.page(), headers={"content-type": CONTENT_TYPE})

    async def _explain(self, request: web.Request) -> web.Response:
        """By `id` that decision; by `last` so many, of a `model` only; by `model` alone where a request would go."""
        asked, now_s = request.query, time.monotonic()
        try:
            if "last" in asked:
                found = explain.last(self._agent, max(1, int(asked["last"])), asked.get("model"), now_s)
            elif "id" in asked:
                past = explain.one(self._agent, asked["id"], now_s)
                if past is None:
                    return web.json_response({"error": explain.NOT_KEPT.format(asked["id"])}, status=404)
                found = [past]
            else:
                found = [explain.would(self._agent, asked.get("model", ""))]
        except ValueError as error:
            return web.json_response({"error": str(error)}, status=400)
        return web.json_response({"decisions": found}, headers={"cache-control": "no-store"})

    async def _reload(self, request: web.Request) -> web.Response:
        outcome = await self._reloader.reload(_name(request))
        if outcome.problems:
            said = "\n".join(["the fleet file is refused, the fleet before it stays in force", *outcome.problems])
            return web.json_response({"error": said}, status=409)
        return web.json_response(asdict(outcome))

    async def _undo(self, request: web.Request) -> web.Response:
        return web.json_response({"undone": await self._reloader.undo(_name(request))})

    async def _restarted(self, _: web.Request) -> web.Response:
        try:
            return web.json_response({"pid": await self._restart()})
        except Failed as error:
            return web.json_response({"error": str(error)}, status=409)

    async def _drain(self, request: web.Request) -> web.Response:
        return await self._by_hand(request, self._watch.drain)

    async def _ready(self, request: web.Request) -> web.Response:
        return await self._by_hand(request, self._watch.ready)

    async def _preload(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if name not in self._watch.health:
            return self._unknown(name)
        try:
            models = [canonical(model) for model in (await request.json())["models"]]
        except (ValueError, TypeError, KeyError, AttributeError):
            said = 'write {"models": [NAME, ...]}'
            return web.json_response({"error": said}, status=400)
        await self._bring_back(name, models)
        return web.json_response({"name": name})

    async def _by_hand(self, request: web.Request, change: Callable[[str], None]) -> web.Response:
        name = request.match_info["name"]
        if name not in self._watch.health:
            return self._unknown(name)
        change(name)
        is_kept, is_told = self._keep(), await self._told(name)
        said = [*([] if is_kept else [_UNTIL_RESTART]), *([] if is_told else [_NOT_TOLD])]
        health = str(self._watch.health[name].state)
        found = {"name": name, "health": health, "kept": is_kept, "told": is_told, "said": said}
        return web.json_response(found)

    def _unknown(self, name: str) -> web.Response:
        said = f"there is no instance {name}; instances are {', '.join(self._watch.health)}"
        return web.json_response({"error": said}, status=404)

    @web.middleware
    async def _guarded(self, request: web.Request, handler: Callable[[web.Request], Any]) -> web.StreamResponse:
        """Refuse what another's page sent: it carries Origin (Fetch standard), or asks for a name that its owner has
        made this port's address (DNS rebinding).
        """
        origin, asked = request.headers.get("origin"), request.headers.get("host", "")
        if origin is not None and not is_same(origin, asked):
            return web.json_response({"error": "not for web pages"}, status=403)
        address = request.transport.get_extra_info("sockname")[0] if request.transport else ""
        host = host_name(asked)
        if not is_known(host, (socket.gethostname(), str(address)), self._names()):
            said = "this port does not go by that name; allowed_hosts in the fleet file says by which it does"
            return web.json_response({"error": said}, status=403)
        lack = self._operators.lack(request.headers)
        if lack:
            # Browsers ask their user for Basic, and send it with all that the dashboard asks.
            asking = {"www-authenticate": 'Basic realm="Pointsman: any name, and a key"'}
            return web.json_response({"error": lack}, status=401, headers=asking)
        response: web.StreamResponse = await handler(request)
        return response


async def _for_no_other_page(_: web.Request, response: web.StreamResponse) -> None:
    """What names of models are in, no browser takes for a script, or gives to another's page."""
    response.headers["x-content-type-options"] = "nosniff"
    response.headers["cross-origin-resource-policy"] = "same-origin"


def _name(request: web.Request) -> str:
    """Return what whoever asks calls this reload: others' are not to be undone."""
    return request.query.get("name", "")
