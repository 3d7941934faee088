"""mitmproxy's flows: what they say of a request, and how they are sent on or answered."""

from __future__ import annotations

import socket
from collections.abc import Sequence

from mitmproxy import http

from spoe_agent.door.app import OF_BODIES, REQUEST_ID
from spoe_agent.fleet import Instance
from spoe_agent.mitmproxy.answers import Reply
from spoe_agent.mitmproxy.entry import Visit
from spoe_agent.requests.caller import Credentials, Network, caller_of
from spoe_agent.requests.path import decoded
from spoe_agent.requests.reading import Whole, facts
from spoe_agent.requests.request_id import shown
from spoe_agent.requests.wishes import HEADERS, OURS
from spoe_agent.routing import RequestFacts
from spoe_agent.routing.rights import EVERYTHING, Rights
from spoe_agent.routing.surface import FORM_PATH

OF_DOOR = frozenset({"origin", "authorization", "proxy-authorization", "x-api-key"})
"""Headers that are for this door, and go no further."""

PREFIX = "pointsman_prefix"
"""Of an instance's URL, as kept in the metadata of a flow that was sent there."""


def visit(flow: http.HTTPFlow) -> Visit:
    """Return who asks, from which page and for which host."""
    headers = flow.request.headers
    here = flow.client_conn.sockname
    return Visit(
        flow.request.method,
        headers.get("origin", ""),
        flow.request.authority or flow.request.host_header or "",
        (socket.gethostname(), here[0] if here else ""),
        headers.get("access-control-request-headers", ""),
    )


def credentials_of(flow: http.HTTPFlow) -> Credentials:
    """Return what a request says of whom it is from."""
    peer = flow.client_conn.peername
    names = ("authorization", "x-api-key", "x-forwarded-for", "forwarded")
    return Credentials(peer[0] if peer else "", *(flow.request.headers.get(name, "") for name in names))


def facts_of(flow: http.HTTPFlow, trusted: Sequence[Network], rights: Rights = EVERYTHING) -> RequestFacts:
    """Return what is asked for; `trusted` are proxies whose word for the client's address is taken."""
    return facts(
        Whole(
            flow.id,
            flow.request.method,
            path_of(flow),
            flow.request.raw_content or b"",
            content_type=_first(flow, "content-type"),
            content_encoding=_first(flow, "content-encoding"),
            caller=rights.name or caller_of(credentials_of(flow), trusted),
            wished=tuple(_first(flow, name) for name in HEADERS),
            rights=rights,
        )
    )


def _first(flow: http.HTTPFlow, name: str) -> str:
    """Return a header as Go's `Get` does, where it was sent more than once."""
    return next(iter(flow.request.headers.get_all(name)), "")


def path_of(flow: http.HTTPFlow) -> str:
    """Return the path as Ollama takes it."""
    return decoded(asked(flow))


def asked(flow: http.HTTPFlow) -> str:
    """Return the path that the client asked for: a flow that is replayed has been sent to an instance before."""
    return flow.request.path.removeprefix(flow.metadata.get(PREFIX, ""))


def send_to(flow: http.HTTPFlow, instance: Instance) -> None:
    """Have the request sent to an instance, without a Host or an Origin that Ollama on loopback refuses."""
    flow.request.scheme = "https" if instance.has_tls else "http"
    flow.request.host, flow.request.port = instance.host, instance.port
    flow.request.host_header = instance.host_header
    # Ollama would take a model that the query names before the one of the form, by which it was routed.
    path = asked(flow).partition("?")[0] if path_of(flow) == FORM_PATH else asked(flow)
    flow.request.path = instance.prefix + path
    flow.metadata[PREFIX] = instance.prefix
    for name in [name for name in flow.request.headers if name.lower().startswith(OURS) or name.lower() in OF_DOOR]:
        del flow.request.headers[name]
    flow.request.headers["X-Request-Id"] = shown_id(flow)


def send_to_door(flow: http.HTTPFlow, host: str, port: int) -> None:
    """Have the request sent to this program's own door, which needs of its headers what tells of the body only."""
    flow.request.scheme, flow.request.host, flow.request.port = "http", host, port
    flow.request.path = asked(flow)
    flow.metadata[PREFIX] = ""
    own = {"host": f"{host}:{port}", "x-request-id": shown_id(flow), REQUEST_ID: flow.id}
    kept = {name: value for name, value in flow.request.headers.items() if name.lower() in OF_BODIES}
    flow.request.headers = http.Headers()
    flow.request.headers.update(kept | own)  # whatever bytes they are


def sizes_of(flow: http.HTTPFlow) -> tuple[int, int]:
    """Return the bytes of headers and body: what has come of it, or is announced."""
    announced = flow.request.headers.get("content-length", "")
    body_bytes = len(flow.request.raw_content or b"") or (int(announced) if announced.isdecimal() else 0)
    return sum(len(name) + len(value) + 4 for name, value in flow.request.headers.fields), body_bytes


def shown_id(flow: http.HTTPFlow) -> str:
    """Return the id that client and Ollama see: the client's own, if it is fit for a log."""
    return shown(flow.request.headers.get("x-request-id", ""), flow.id)


def response_of(answer: Reply, method: str) -> http.Response:
    """Return an answer at the door as mitmproxy sends it: bodies also to HEAD, which must get none."""
    response = http.Response.make(answer.status, b"" if method == "HEAD" else answer.body, dict(answer.headers))
    if answer.status == 204:
        del response.headers["content-length"]  # RFC 9110 section 8.6
    return response
