"""What goes to no Ollama: probes, what stands beside the front's prefix, whoever is turned away. As in haproxy.cfg."""

from __future__ import annotations

from mitmproxy import http

from spoe_agent.fleet import Fleet
from spoe_agent.mitmproxy.answers import Reply, error, rejection
from spoe_agent.mitmproxy.entry import is_foreign_page, preflight, refusal, too_large
from spoe_agent.mitmproxy.flight import Flight
from spoe_agent.mitmproxy.flows import asked, path_of, sizes_of, visit
from spoe_agent.mitmproxy.keys import Comer, Gate
from spoe_agent.mitmproxy.router import Router
from spoe_agent.mitmproxy.told import note
from spoe_agent.requests.changes import BLOBS
from spoe_agent.requests.foreign import FOREIGN_ORIGIN
from spoe_agent.routing import Action, Choice, Reason, RequestFacts
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


def turned_away(flow: http.HTTPFlow, flight: Flight, fleet: Fleet, gate: Gate, comer: Comer) -> Reply | None:
    """Return the answer to who may not come, by headers alone, and to browsers that ask leave; None: it may."""
    visitor = visit(flow)
    refused = refusal(visitor, fleet)
    if is_foreign_page(visitor) and (refused is None or refused.reason is not FOREIGN_ORIGIN):
        flight.origin = visitor.origin
    if refused is None:
        settled = preflight(visitor) or beyond(flow, flight, fleet)
        if settled is not None:
            return settled
        refused = gate.refusal(comer, flow.request.method, path_of(flow))
    if refused is None:
        return None
    note(flow, flight, refused)
    return rejection(refused, flight.request)


def beyond(flow: http.HTTPFlow, flight: Flight, fleet: Fleet) -> Reply | None:
    """Return the answer to what is too large, as far as can be seen of it; None: it is not."""
    found = too_large(*sizes_of(flow), path_of(flow).startswith(BLOBS), fleet.policies)
    if found is None:
        return None
    status, message = found
    note(flow, flight, Choice(Action.REJECT, Reason.TOO_LARGE, message=message))
    return error(flight.request, status, message)
