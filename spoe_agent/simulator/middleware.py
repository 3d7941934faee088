"""What happens to every request around its handler, in the order of Ollama's own chain (routes.go:1841-1929).

Record, Origin and Host checks, then errors into JSON of the right dialect, and gin's texts for 404 and 405.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from spoe_agent.simulator import guard
from spoe_agent.simulator.errors import OllamaError, error_body, is_bare
from spoe_agent.simulator.serving import BARE_JSON, JSON, json_answer
from spoe_agent.simulator.state import RECORD, instance_of, record_of

CLIENT_LEFT = 499

_METHODS = ("HEAD", "GET", "POST", "DELETE")
"""In the order in which gin lists them."""


@web.middleware
async def record(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Remember every request for GET /sim/requests, with the status of its answer; 499 if the client left."""
    request[RECORD] = entry = record_of(request)
    if not request.path.startswith("/sim/"):
        instance_of(request).requests.append(entry)
    status = CLIENT_LEFT
    try:
        response = await handler(request)
        status = response.status
        return response
    finally:
        entry.status = status


def checks(on_loopback: bool) -> Middleware:
    """Refuse foreign origins, and foreign hosts on a loopback listener: 403 without a body."""

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        origin, host = request.headers.get("Origin"), request.headers.get("Host")
        if not guard.origin_allowed(origin, host):
            return web.Response(status=403)
        if origin and request.method == "OPTIONS":
            return web.Response(status=204)
        if on_loopback and not guard.host_allowed(host):
            return web.Response(status=403)
        return await handler(request)

    return check


@web.middleware
async def errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer errors as Ollama and gin do."""
    try:
        return await handler(request)
    except OllamaError as error:
        media = BARE_JSON if is_bare(request.path, error) else JSON
        return json_answer(error_body(request.path, error), error.status, media, chunked=error.streamed)
    except web.HTTPMethodNotAllowed as refusal:
        allowed = ", ".join(method for method in _METHODS if method in refusal.allowed_methods)
        return _plain(405, "405 method not allowed", {"Allow": allowed})
    except web.HTTPNotFound:
        bare = request.path.rstrip("/")
        if bare != request.path and _is_route(request.app, bare):
            # gin's RedirectTrailingSlash.
            return web.Response(status=301 if request.method == "GET" else 307, headers={"Location": bare})
        return _plain(404, "404 page not found")


async def on_prepare(request: web.Request, response: web.StreamResponse) -> None:
    """Headers as gin has them: none that names the server, and CORS for an allowed Origin."""
    response.headers.pop("Server", None)
    origin = request.headers.get("Origin")
    if origin and guard.origin_allowed(origin, request.headers.get("Host")):
        response.headers["Access-Control-Allow-Origin"] = origin


def _is_route(app: web.Application, path: str) -> bool:
    return any(resource.canonical == path for resource in app.router.resources())


def _plain(status: int, text: str, headers: Mapping[str, str] = MappingProxyType({})) -> web.Response:
    return web.Response(status=status, body=text.encode(), headers={"Content-Type": "text/plain", **headers})
