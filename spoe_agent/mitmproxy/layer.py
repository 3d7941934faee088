"""mitmproxy's HTTP layer, with errors in the caller's dialect. The one module that needs mitmproxy, for the addon.

Works on mitmproxy's proxy core, which versions may change: pyproject.toml bounds them, and the tests run both ends.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable
from typing import Any

from mitmproxy import connection, ctx, http, tls
from mitmproxy.proxy import events
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layer import CommandGenerator, Layer, NextLayer
from mitmproxy.proxy.layers import modes
from mitmproxy.proxy.layers.http import HttpLayer, HTTPMode, HttpStream
from mitmproxy.proxy.layers.http._events import (
    RequestData,
    ResponseData,
    ResponseEndOfMessage,
    ResponseHeaders,
    ResponseProtocolError,
)

HTTP2_PREFACE = b"PRI * HTTP/2.0"
NO_RESPONSE = 444
"""mitmproxy 11's status for "close without an answer" (net/http/status_codes.py)."""

Failure = Callable[[http.HTTPFlow], http.Response | None]
"""Makes the answer to a flow whose instance failed; None leaves it to mitmproxy."""


def take_over(nextlayer: NextLayer, failure: Failure, most_bytes: Callable[[], int]) -> None:
    """Make reverse mode's HTTP ours. mitmproxy itself knows HTTP/2 by TLS only; here it may start right away.

    `most_bytes`: of a body that is kept; what comes beyond is read, and little of it kept.
    """
    context = nextlayer.context
    if [type(layer) for layer in context.layers] != [modes.ReverseProxy]:
        return
    start = nextlayer.data_client()
    if start.startswith(HTTP2_PREFACE):
        context.client.alpn = b"h2"
    if start[:1].isalpha():  # else TLS
        nextlayer.layer = DialectLayer(context, HTTPMode.transparent, failure, most_bytes)


def hold_back() -> bool:
    """Keep mitmproxy from listening on its own port 8080 while it starts, and tell whether that was needed.

    It is not where the user gave a mode, or said that nothing shall be listened on, or mitmproxy runs already. Whoever
    held it back sets the option `server` again.
    """
    proxyserver = ctx.master.addons.get("proxyserver")
    if proxyserver is None or proxyserver.is_running or not ctx.options.server or ctx.options.mode != ["regular"]:
        return False
    ctx.options.update(server=False)
    # With Python 3.12 it is too late for the option: tasks are eager, and the port's is begun when scripts are loaded.
    # It still waits for the address to be resolved.
    if proxyserver.servers.is_updating:
        for task in asyncio.all_tasks():
            if getattr(task.get_coro(), "__qualname__", "") == "Proxyserver.setup_servers":
                task.cancel()
        proxyserver.servers._instances.clear()  # else one that was never started would be stopped
    return True


def trust(server: tls.TlsData, ca_file: str) -> None:
    """Believe these certificates too. mitmproxy keeps one set for all servers, so they are believed of any of them."""
    # Scripts are asked before the addon that makes the connection, which leaves alone what is made already.
    ctx.master.addons.get("tlsconfig").tls_start_server(server)
    if server.ssl_conn is not None:
        server.ssl_conn.get_context().load_verify_locations(ca_file)


def lift_limit(client: connection.Client) -> None:
    """Let a client have any number of connections to an instance: mitmproxy's own limit is 5, and the slots' is ours.

    HTTP/1 clients have one; HTTP/2 clients have one per request.
    """
    handler = ctx.master.addons.get("proxyserver").connections.get(client.id)
    if handler is not None:
        handler.max_conns = defaultdict(lambda: asyncio.Semaphore(1_000_000))


class DialectLayer(HttpLayer):
    """mitmproxy's HTTP, but a failure before the first byte becomes an answer in the caller's dialect, not a page; and
    of bodies that nobody will look at nothing is kept.
    """

    def __init__(self, context: Context, mode: HTTPMode, failure: Failure, most_bytes: Callable[[], int]) -> None:
        super().__init__(context, mode)
        self._failure = failure
        self._most_bytes = most_bytes

    def event_to_child(self, child: Layer | HttpStream, event: events.Event) -> CommandGenerator[None]:
        """Hand an event on; `child` is the client's side of the connection when it is an answer's."""
        if isinstance(event, RequestData) and isinstance(child, HttpStream) and not self._is_kept(child):
            return
        if isinstance(event, ResponseProtocolError) and child is self.connections.get(self.context.client):
            response = self._instead(event)
            if response is not None:
                number = event.stream_id
                yield from super().event_to_child(child, ResponseHeaders(number, response))
                yield from super().event_to_child(child, ResponseData(number, response.content or b""))
                yield from super().event_to_child(child, ResponseEndOfMessage(number))
                return
        yield from super().event_to_child(child, event)

    def _is_kept(self, stream: HttpStream) -> bool:
        """Tell whether more of a body is kept: not of one that is answered already, nor is too large already."""
        if stream.client_state != stream.state_consume_request_body:
            return True  # it goes through as it comes
        return stream.flow.response is None and len(stream.request_body_buf) <= self._most_bytes()

    def _instead(self, event: ResponseProtocolError) -> http.Response | None:
        """None when nothing may be sent any more, or the request has not been read to its end."""
        stream = self.streams.get(event.stream_id)
        if stream is None or stream.flow.response is not None or stream.client_state != stream.state_done:
            return None
        return self._failure(stream.flow) if _has_status(event) else None


def _has_status(event: ResponseProtocolError) -> bool:
    """Tell whether a page would be sent: 12 has an enumeration where 11 has a status, 444 for none."""
    code: Any = event.code
    return bool(code != NO_RESPONSE if isinstance(code, int) else code.http_status_code() is not None)
