"""Pointsman inside mitmproxy, for development: `mitmdump -s addon/route.py`, with nothing else, is a working router.

It reads ./fleet.yaml (else /etc/pointsman/fleet.yaml, else `--set pointsman_fleet=FILE`), follows it while it is
edited, and listens on its `listeners.front` unless a mode was given. mitmproxy opens its own port 8080 first, for a
moment: where that is taken, add `-p 0`. mitmweb shows each choice as the flow's comment, and in full in its metadata.

Whole request bodies are read before they are routed, so `max_inspected_body` does not limit them; `stream_large_bodies`
must stay off, because it picks the server before the model is known. mitmproxy 11 closes connections on which nothing
moved for 10 minutes; with 12 that follows `response_timeout`.

Lives here: flow to RequestFacts, answer to flow. Must not live here: decisions, limits, retries (spoe_agent.front).
"""

import asyncio
import logging
import socket
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

# In a checkout, core and addon come from the same tree; installed, site-packages is there already.
ROOT = str(Path(__file__).resolve().parent.parent)
if ROOT not in sys.path:
    sys.path.insert(0, ROOT)

import structlog  # noqa: E402
from mitmproxy import connection, ctx, http  # noqa: E402
from mitmproxy.addonmanager import Loader  # noqa: E402
from mitmproxy.proxy import commands, events  # noqa: E402
from mitmproxy.proxy.context import Context  # noqa: E402
from mitmproxy.proxy.layer import Layer, NextLayer  # noqa: E402
from mitmproxy.proxy.layers import modes  # noqa: E402
from mitmproxy.proxy.layers.http import (  # noqa: E402
    HttpLayer,
    HTTPMode,
    HttpStream,
    ResponseData,
    ResponseEndOfMessage,
    ResponseHeaders,
    ResponseProtocolError,
)

from spoe_agent.body import BodyError, read_model  # noqa: E402
from spoe_agent.fleet import Fleet, FleetError, find, load  # noqa: E402
from spoe_agent.front.answers import BROKEN, FAILED, Answer, error, rejection  # noqa: E402
from spoe_agent.front.origins import at_the_door  # noqa: E402
from spoe_agent.front.router import Passage, Router  # noqa: E402
from spoe_agent.routing import Choice, Kind, Problem, RequestFacts  # noqa: E402
from spoe_agent.routing.surface import classify, dialect, path_model  # noqa: E402

log = logging.getLogger(__name__)

OPTION = "pointsman_fleet"
HTTP2_PREFACE = b"PRI * HTTP/2.0"


@dataclass(slots=True)
class Flight:
    """A flow between its headers and its end."""

    request: RequestFacts
    client_id: str
    origin: str | None
    search: asyncio.Task[Passage] | None = None
    choice: Choice | None = None


class Pointsman:
    """The addon. `fleet` and `router` are for tests: normally both come from the fleet file."""

    def __init__(self, router: Router | None = None) -> None:
        self._router = router or Router()
        self._flights: dict[str, Flight] = {}
        self._path: Path
        self.fleet: Fleet | None = None
        self._listens = ""
        self._task: asyncio.Task[None] | None = None

    def load(self, loader: Loader) -> None:
        """Declare the option, and send the core's log where mitmproxy's goes."""
        loader.add_option(OPTION, str, "", "Fleet file; else ./fleet.yaml, else /etc/pointsman/fleet.yaml.")
        structlog.configure(
            processors=[structlog.processors.format_exc_info, _as_line],
            wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
            logger_factory=structlog.stdlib.LoggerFactory(),
        )

    def configure(self, updated: set[str]) -> None:
        """Read the fleet file. One that cannot be used is logged, which ends mitmproxy when it is just starting."""
        if OPTION not in updated:
            return
        try:
            path = find(Path(ctx.options.pointsman_fleet) if ctx.options.pointsman_fleet else None)
            self.fleet, self._path = load(path), path
        except FleetError as refused:
            log.error("%s", refused)
            return
        if self._task is not None:
            self.done()
            self.running()

    def running(self) -> None:
        """Start. Also called when this file was edited, then on a new object; hence not async."""
        if self.fleet is None:
            return
        if ctx.options.mode == ["regular"]:
            self._listens = "regular"
            _complain_if_taken(self.fleet)
        # Reverse mode would connect to its fixed address before anything is known of the request.
        ctx.options.update(connection_strategy="lazy")
        loop = asyncio.get_running_loop()
        self._task = loop.create_task(self._router.run(self._path, self.fleet, self._use))
        self._task.add_done_callback(_report)

    def done(self) -> None:
        """Stop what `running` started."""
        if self._task is not None:
            self._task.cancel()
            self._task = None

    def _use(self, fleet: Fleet) -> None:
        """Listen where the fleet file says, unless the user said something else."""
        self.fleet = fleet
        if "tcp_timeout" in ctx.options:
            ctx.options.update(tcp_timeout=round(fleet.policies.response_timeout))
        if ctx.options.mode in ([self._listens], [_reverse(fleet)]):
            self._listens = _reverse(fleet)
            ctx.options.update(mode=[self._listens])
        log.info("Pointsman routes to %s", ", ".join(instance.name for instance in fleet.instances))

    def next_layer(self, nextlayer: NextLayer) -> None:
        """Take over reverse mode's HTTP: errors in the caller's dialect, and HTTP/2 without TLS."""
        context = nextlayer.context
        if [type(layer) for layer in context.layers] != [modes.ReverseProxy]:
            return
        start = nextlayer.data_client()
        if start.startswith(HTTP2_PREFACE):
            context.client.alpn = b"h2"
        if start[:1].isalpha():
            nextlayer.layer = DialectLayer(context, HTTPMode.transparent, self._failure)

    async def requestheaders(self, flow: http.HTTPFlow) -> None:
        """Route what needs no body: models' blobs are gigabytes, and go through as they come."""
        if classify(_path(flow)) is Kind.MANAGE:
            await self._route(flow)
            flow.request.stream = flow.response is None

    async def request(self, flow: http.HTTPFlow) -> None:
        """Route the rest."""
        if flow.id not in self._flights:
            await self._route(flow)

    async def _route(self, flow: http.HTTPFlow) -> None:
        if flow.response or flow.error or not flow.live:
            return
        flight = Flight(facts(flow), flow.client_conn.id, flow.request.headers.get("origin"))
        self._flights[flow.id] = flight
        try:
            answer = self._turned_away(flow, flight) or await self._find(flow, flight)
        except Exception:
            # mitmproxy would log it too, and then send the request on to nobody knows where.
            log.exception("request %s failed", flow.id)
            answer = error(flight.request, 500, FAILED)
        if answer is not None:
            flow.response = _response(answer)

    def _turned_away(self, flow: http.HTTPFlow, flight: Flight) -> Answer | None:
        if self.fleet is None:
            raise RuntimeError("no fleet file was read")
        asked = flow.request.headers.get("access-control-request-headers", "")
        answer = at_the_door(flight.origin, flow.request.method, asked, self.fleet.policies.allowed_origins)
        if answer is not None:
            flight.origin = None
        return answer

    async def _find(self, flow: http.HTTPFlow, flight: Flight) -> Answer | None:
        """Wait for the router's word, or until the client leaves."""
        flight.search = asyncio.get_running_loop().create_task(self._router.route(flight.request))
        try:
            await asyncio.wait([flight.search])
        finally:
            flight.search.cancel()
        if flight.search.cancelled():
            flow.kill()
            return None
        passage = flight.search.result()
        flight.choice = passage.choice
        flow.comment = f"{passage.choice.instance or passage.choice.status}: {passage.choice.reason}"
        flow.metadata["pointsman"] = described(passage.choice)
        if passage.address is None:
            return rejection(passage.choice, flight.request)
        _send_to(flow, *passage.address)
        return None

    def responseheaders(self, flow: http.HTTPFlow) -> None:
        """Let the body pass as it comes, and say who answers."""
        if flow.response is None:
            return
        flow.response.stream = True
        flight = self._flights.get(flow.id)
        if flight is not None:
            flow.response.headers.update(self._headers(flight))

    def _headers(self, flight: Flight) -> dict[str, str]:
        found: dict[str, str] = {}
        if flight.choice is not None and self.fleet is not None and self.fleet.policies.explain_header:
            found["x-pointsman"] = f"{flight.choice.instance or '-'} {flight.choice.reason}"
        if flight.origin is not None:
            found |= {"Access-Control-Allow-Origin": flight.origin, "Vary": "Origin"}
        return found

    def _failure(self, flow: http.HTTPFlow) -> http.Response | None:
        """Return what is answered instead of mitmproxy's own page when an instance fails."""
        flight = self._flights.get(flow.id)
        if flight is None:
            return None
        response = _response(error(flight.request, 502, BROKEN))
        response.headers.update({**self._headers(flight), "Connection": "close"})
        return response

    def response(self, flow: http.HTTPFlow) -> None:
        """Free the connection."""
        self._end(flow.id)

    def error(self, flow: http.HTTPFlow) -> None:
        """Free the connection: the instance failed, or the client left."""
        self._end(flow.id)

    def client_disconnected(self, client: connection.Client) -> None:
        """Free what the client still waits for: mitmproxy tells of no other event while a hook is at work."""
        for flow_id, flight in list(self._flights.items()):
            if flight.client_id == client.id:
                self._end(flow_id)

    def _end(self, flow_id: str) -> None:
        flight = self._flights.pop(flow_id, None)
        if flight is not None and flight.search is not None:
            flight.search.cancel()
            self._router.leave(flow_id)


def facts(flow: http.HTTPFlow) -> RequestFacts:
    """Return what a request shows; the router adds the counts."""
    path = _path(flow)
    request = RequestFacts(flow.id, classify(path), dialect(path))
    if request.kind in (Kind.LIST, Kind.MANAGE):
        return request
    in_path = path_model(path)
    if in_path is not None:
        return request.naming(unquote(in_path))
    headers = flow.request.headers
    body = flow.request.raw_content or b""
    try:
        return request.naming(read_model(body, headers.get("content-type", ""), headers.get("content-encoding", "")))
    except BodyError as unreadable:
        return request.without_model(Problem.UNREADABLE, str(unreadable))


def described(choice: Choice) -> dict[str, Any]:
    """Return a choice as plain data, which mitmproxy can save with the flow."""
    return {
        "action": str(choice.action),
        "instance": choice.instance,
        "reason": choice.reason,
        "status": choice.status,
        "message": choice.message,
        "candidates": [
            {
                "instance": candidate.instance,
                "excluded": None if candidate.exclusion is None else str(candidate.exclusion),
                "detail": candidate.detail,
                "tier": None if candidate.tier is None else candidate.tier.name.lower(),
                "cost": candidate.cost._asdict(),
            }
            for candidate in choice.candidates
        ],
    }


class DialectLayer(HttpLayer):
    """mitmproxy's HTTP, but a failure before the first byte becomes an answer in the caller's dialect, not a page."""

    def __init__(
        self, context: Context, mode: HTTPMode, failure: Callable[[http.HTTPFlow], http.Response | None]
    ) -> None:
        super().__init__(context, mode)
        self._failure = failure

    def event_to_child(self, child: Layer | HttpStream, event: events.Event) -> Iterator[commands.Command]:
        """Hand an event on; `child` is the client's side of the connection when it is an answer's."""
        response = None
        if isinstance(event, ResponseProtocolError) and child is self.connections.get(self.context.client):
            response = self._instead(event)
        if response is None:
            yield from super().event_to_child(child, event)
            return
        for part in (
            ResponseHeaders(event.stream_id, response),
            ResponseData(event.stream_id, response.content or b""),
            ResponseEndOfMessage(event.stream_id),
        ):
            yield from super().event_to_child(child, part)

    def _instead(self, event: ResponseProtocolError) -> http.Response | None:
        """None when nothing may be sent any more, or the request has not been read to its end."""
        stream = self.streams.get(event.stream_id)
        if stream is None or stream.flow.response is not None or stream.client_state != stream.state_done:
            return None
        return self._failure(stream.flow) if _has_status(event) else None


def _has_status(event: ResponseProtocolError) -> bool:
    """Tell whether a page would be sent: 12 has an enumeration where 11 has a status, 444 for none."""
    code: Any = event.code
    return bool(code != 444 if isinstance(code, int) else code.http_status_code() is not None)


def _path(flow: http.HTTPFlow) -> str:
    return flow.request.path.partition("?")[0]


def _send_to(flow: http.HTTPFlow, host: str, port: int) -> None:
    """Ollama on loopback answers 403 to a Host or an Origin that it does not know."""
    flow.request.scheme = "http"
    flow.request.host, flow.request.port = host, port
    flow.request.host_header = "localhost"
    flow.request.headers.pop("origin", None)
    flow.request.headers["X-Request-Id"] = flow.id


def _response(answer: Answer) -> http.Response:
    return http.Response.make(answer.status, answer.body, dict(answer.headers))


def _reverse(fleet: Fleet) -> str:
    """Return reverse mode on the front port, to itself: a request that nobody routed is refused by mitmproxy."""
    front = fleet.listeners.front
    return f"reverse:http://127.0.0.1:{front.port}@{front.host}:{front.port}"


def _complain_if_taken(fleet: Fleet) -> None:
    """An error now ends mitmproxy; later it would go on without listening."""
    front = fleet.listeners.front
    try:
        family = socket.AF_INET6 if ":" in front.host else socket.AF_INET
        socket.create_server((front.host, front.port), family=family).close()
    except OSError as taken:
        log.error("cannot listen on %s (listeners.front of the fleet file): %s", front, taken.strerror)


def _report(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (failed := task.exception()) is not None:
        log.error("Pointsman stopped", exc_info=failed)
        ctx.master.shutdown()


def _as_line(_: object, __: str, event: structlog.typing.EventDict) -> str:
    text = str(event.pop("event"))
    return " ".join([text, *(f"{name}={value}" for name, value in event.items())])


addons = [Pointsman()]
