"""Pointsman inside mitmproxy, for development: flow to RequestFacts, answer to flow.

Its two scripts (`script/route.py` here, `addon/route.py` of a checkout), with nothing else, are a working router.
It reads ./fleet.yaml (else /etc/pointsman/fleet.yaml, else `--set pointsman_fleet=FILE`), follows it while it is
edited, and listens on its `listeners.front` only, unless a mode was given; for changes of several model stores also on
a port of loopback. mitmweb shows each choice as the flow's comment; its metadata, saved with it, has all terms.

Whole request bodies are read before they are routed, so `max_inspected_body` does not limit them; `stream_large_bodies`
must stay off, because it picks the server before the model is known. mitmproxy 11 closes connections on which nothing
moved for 10 minutes; with 12 that follows `response_timeout`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable
from dataclasses import replace
from pathlib import Path

from mitmproxy import connection, ctx, http, tls
from mitmproxy.addonmanager import Loader
from mitmproxy.exceptions import OptionsError
from mitmproxy.proxy.layer import NextLayer

from spoe_agent.door.answers import media_type
from spoe_agent.fleet import Fleet, FleetError, find, load
from spoe_agent.mitmproxy import doorstep
from spoe_agent.mitmproxy.answers import BROKEN, FAILED, LISTED, Reply, error, rejection
from spoe_agent.mitmproxy.flight import Flight
from spoe_agent.mitmproxy.flows import (
    credentials_of,
    facts_of,
    path_of,
    response_of,
    send_to,
    send_to_door,
    shown_id,
)
from spoe_agent.mitmproxy.keys import Gate, is_answered
from spoe_agent.mitmproxy.layer import hold_back, lift_limit, take_over, trust
from spoe_agent.mitmproxy.logs import send_to_logging
from spoe_agent.mitmproxy.place import complain_if_taken, reverse
from spoe_agent.mitmproxy.router import End, Router
from spoe_agent.mitmproxy.told import note
from spoe_agent.requests.changes import BLOBS
from spoe_agent.routing import Kind, RequestFacts
from spoe_agent.routing.surface import dialect

log = logging.getLogger(__name__)

OPTION = "pointsman_fleet"


class Pointsman:
    """The addon. Tests pass a router of their own."""

    def __init__(self, router: Router | None = None) -> None:
        self._router = router or Router()
        self._gate = Gate()
        self._flights: dict[str, Flight] = {}
        self._path: Path | None = None
        self._is_running = False
        self.fleet: Fleet | None = None
        self._listens = ""
        self._is_held_back = False
        self._task: asyncio.Task[None] | None = None

    def load(self, loader: Loader) -> None:
        """Declare the option, and send the core's log where mitmproxy's goes."""
        loader.add_option(OPTION, str, "", "Fleet file; else ./fleet.yaml, else /etc/pointsman/fleet.yaml.")
        send_to_logging()
        self._is_held_back = hold_back()

    def configure(self, updated: set[str]) -> None:
        """Read the fleet file. One that cannot be used raises OptionsError, and the option is as it was; while there is
        none to go on with it is logged, which ends mitmproxy when it is just starting.
        """
        if OPTION not in updated:
            return
        try:
            path = _fleet_file(ctx.options.pointsman_fleet)
            if path == self._path:  # mitmproxy takes back what was refused; edits of the file are followed anyway
                return
            self.fleet, self._path = load(path), path
        except FleetError as refused:
            if self.fleet is not None:
                raise OptionsError(str(refused)) from None
            log.error("%s", refused)
            return
        if self._is_running:
            self.done()
            self._start(path, self.fleet)

    def running(self) -> None:
        """Start. Also called when this file was edited, then on a new object; hence not async."""
        self._is_running = True
        if self.fleet is not None and self._path is not None:
            self._start(self._path, self.fleet)

    def _start(self, path: Path, fleet: Fleet) -> None:
        if ctx.options.mode == ["regular"]:
            self._listens = "regular"
            complain_if_taken(fleet)
        # Reverse mode would connect to its fixed address before anything is known of the request, and write that
        # address over the host that the client asked for.
        ctx.options.update(connection_strategy="lazy", keep_host_header=True)
        self._task = asyncio.get_running_loop().create_task(self._router.run(path, fleet, self._use))
        self._task.add_done_callback(_report)

    def done(self) -> None:
        """Stop what was started."""
        if self._task is not None:
            self._task.cancel()
            self._task = None

    def _use(self, fleet: Fleet) -> None:
        """Listen where the fleet file says, unless the user said something else."""
        self.fleet = fleet
        if "tcp_timeout" in ctx.options:
            ctx.options.update(tcp_timeout=round(fleet.policies.response_timeout))
        if ctx.options.mode in ([self._listens], [reverse(fleet)]):
            self._listens = reverse(fleet)
            ctx.options.update(mode=[self._listens])
        if self._is_held_back:
            self._is_held_back = False
            ctx.options.update(server=True)
        log.info("Pointsman routes to %s", ", ".join(instance.name for instance in fleet.instances))

    def client_connected(self, client: connection.Client) -> None:
        """Leave limits to the router."""
        lift_limit(client)

    def next_layer(self, nextlayer: NextLayer) -> None:
        """Take over reverse mode's HTTP: errors in the caller's dialect, and HTTP/2 without TLS."""
        take_over(nextlayer, self._failure, lambda: self.fleet.policies.max_body if self.fleet else 0)

    def tls_start_server(self, data: tls.TlsData) -> None:
        """Take the fleet file's word for who may sign."""
        at = data.conn.address if isinstance(data.conn, connection.Server) else None
        for instance in self.fleet.instances if self.fleet else ():
            if instance.ca_file and at == (instance.host, instance.port):
                trust(data, instance.ca_file)

    async def requestheaders(self, flow: http.HTTPFlow) -> None:
        """Turn away whom no body helps, before one is kept; and route what needs none: models' blobs are gigabytes, and
        go through as they come.
        """
        doorstep.enter(flow, self.fleet.listeners.prefix if self.fleet else "")
        if flow.response or flow.error or not flow.live:
            return
        await self._answer(flow, self._enter(flow))
        if path_of(flow).startswith(BLOBS) and flow.response is None:
            await self._answer(flow, self._find(flow, self._flights[flow.id]))
            flow.request.stream = flow.response is None

    async def request(self, flow: http.HTTPFlow) -> None:
        """Route the rest."""
        flight = self._flights.get(flow.id)
        if flight is not None and flight.search is None and flow.response is None and flow.live:
            await self._answer(flow, self._find(flow, flight))

    async def _answer(self, flow: http.HTTPFlow, asking: Awaitable[Reply | None]) -> None:
        try:
            answer = await asking
        except Exception:
            # mitmproxy would log it too, and then send the request on to nobody knows where.
            log.exception("request %s failed", flow.id)
            answer = error(RequestFacts(flow.id, Kind.LIST, dialect(path_of(flow))), 500, FAILED)
        if answer is not None:
            flow.response = response_of(answer, flow.request.method)

    async def _enter(self, flow: http.HTTPFlow) -> Reply | None:
        """Look at whoever comes, by the headers alone."""
        if self.fleet is None:
            raise RuntimeError("no fleet file was read")
        comer = self._gate.comer(credentials_of(flow), self.fleet)
        request = facts_of(flow, self.fleet.policies.trusted_proxies, comer.rights)
        flight = self._flights[flow.id] = Flight(request, flow.client_conn.id, shown_id(flow))
        reply = await doorstep.answer(flow, request, self.fleet.listeners.prefix, self._router)
        return reply or doorstep.turned_away(flow, flight, self.fleet, self._gate, comer)

    async def _find(self, flow: http.HTTPFlow, flight: Flight) -> Reply | None:
        """Wait for the router's word, or until the client leaves."""
        if self.fleet is None:
            raise RuntimeError("no fleet file was read")
        large = doorstep.beyond(flow, flight, self.fleet)
        if large is not None:
            return large
        flight.request = facts_of(flow, self.fleet.policies.trusted_proxies, flight.request.rights)
        flight.search = asyncio.get_running_loop().create_task(self._router.route(flight.request))
        try:
            await asyncio.wait([flight.search])
        finally:
            flight.search.cancel()
        if flight.search.cancelled():
            if flow.killable:
                flow.kill()
            return None
        passage = flight.search.result()
        note(flow, flight, passage.choice)
        if passage.choice.writings:
            send_to_door(flow, *await self._router.door_at())
            return None
        if passage.instance is None:
            return rejection(passage.choice, flight.request)
        path = path_of(flow)
        if flow.request.method == "GET" and is_answered(path, flight.request):
            note(flow, flight, LISTED)
            body = await self._router.list(path, flight.request.rights)
            return Reply(200, {"Content-Type": media_type(path)}, body)
        send_to(flow, passage.instance)
        flight.sent_at_s = time.monotonic()
        return None

    def responseheaders(self, flow: http.HTTPFlow) -> None:
        """Let the body pass as it comes, and say who answers."""
        if flow.response is None:
            return
        flow.response.stream = True
        flight = self._flights.get(flow.id)
        if flight is not None:
            flight.first_byte_at_s = time.monotonic()
            self._add_headers(flow.response, flight)

    def _add_headers(self, response: http.Response, flight: Flight) -> None:
        response.headers["X-Request-Id"] = flight.shown_id
        if flight.choice is not None and self.fleet is not None and self.fleet.policies.explain_header:
            response.headers["x-pointsman"] = f"{flight.choice.instance or '-'} {flight.choice.reason_text}"
        if flight.origin:
            response.headers["Access-Control-Allow-Origin"] = flight.origin
            response.headers.add("Vary", "Origin")

    def _failure(self, flow: http.HTTPFlow) -> http.Response | None:
        """Return what is answered instead of mitmproxy's own page when an instance fails."""
        flight = self._flights.get(flow.id)
        if flight is None:
            return None
        response = response_of(error(flight.request, 502, BROKEN), flow.request.method)
        # mitmproxy remembers the failure for as long as the client's connection lives.
        response.headers["Connection"] = "close"
        self._add_headers(response, flight)
        return response

    def response(self, flow: http.HTTPFlow) -> None:
        """Free the connection, and say how long it took."""
        flight = self._flights.get(flow.id)
        if flight is not None:
            status = flow.response.status_code if flow.response else 0
            self._end(flow.id, flight.answered(status, time.monotonic()))
            del self._flights[flow.id]

    def error(self, flow: http.HTTPFlow) -> None:
        """Free the connection: the instance failed, or the client left. What the client is told comes after this."""
        flight = self._flights.get(flow.id)
        has_client = flow.client_conn.connected and not (flow.error and "client" in flow.error.msg)
        if flight is not None:
            self._end(flow.id, flight.broken() if has_client else flight.left())

    def client_disconnected(self, client: connection.Client) -> None:
        """Free what the client still waits for: mitmproxy tells of no other event while a hook is at work."""
        for flow_id in [flow_id for flow_id, flight in self._flights.items() if flight.client_id == client.id]:
            self._end(flow_id, self._flights[flow_id].left())
            del self._flights[flow_id]

    def _end(self, flow_id: str, end: End) -> None:
        flight = self._flights.get(flow_id)
        if flight is not None and flight.search is not None and not flight.is_over:
            flight.is_over = True
            flight.search.cancel()
            self._router.leave(flow_id, end)


def _fleet_file(named: str) -> Path:
    """Return the fleet file to use. Raises FleetError when there is none, with advice for mitmproxy's users."""
    try:
        return find(Path(named) if named else None)
    except FleetError as error:
        hint = f"name one with --set {OPTION}=FILE, or have `pointsman init` write one"
        raise FleetError(replace(problem, hint=hint) for problem in error.problems) from None


def _report(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (failed := task.exception()) is not None:
        log.error("Pointsman stopped", exc_info=failed)
        ctx.master.shutdown()
