"""What is no request for Ollama: probes, and what stands beside the front's prefix. As haproxy.cfg has it."""

from __future__ import annotations

from mitmproxy import http

from spoe_agent.mitmproxy.answers import Reply, error
from spoe_agent.mitmproxy.flows import asked
from spoe_agent.mitmproxy.router import Router
from spoe_agent.routing import RequestFacts
from spoe_agent.routing.surface import LIVES_PATH, READY_PATH, outside

INSIDE = "pointsman_inside"
"""Kept in a flow's metadata: its path was below the front's prefix, which is not there any more."""
TEXT = {"Content-Type": "text/plain"}


def enter(flow: http.HTTPFlow, prefix: str) -> None:
    """Take the front's own prefix off a path, once."""
    if INSIDE in flow.metadata:
        return
    path, mark, query = flow.request.path.partition("?")
    flow.metadata[INSIDE] = inside = not prefix or path == prefix or path.startswith(f"{prefix}/")
    if inside and prefix:
        flow.request.path = (path.removeprefix(prefix) or "/") + mark + query


async def answer(flow: http.HTTPFlow, request: RequestFacts, prefix: str, router: Router) -> Reply | None:
    """Return the answer to what is no request for Ollama; None: it is one."""
    path = asked(flow).partition("?")[0]
    if path == LIVES_PATH or (path == READY_PATH and await router.can_serve()):
        return Reply(200, TEXT, b"ok\n")
    if path == READY_PATH:
        retry_after_s = router.retry_after_s
        return Reply(503, {**TEXT, "Retry-After": str(retry_after_s)}, b"no instance can serve\n")
    return None if flow.metadata[INSIDE] else error(request, 404, outside(prefix))
