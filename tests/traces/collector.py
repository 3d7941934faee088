"""A collector of OpenTelemetry: takes OTLP over HTTP in JSON, and refuses what its specification does not have."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

KEYS = {
    "traceId", "spanId", "parentSpanId", "name", "kind", "startTimeUnixNano", "endTimeUnixNano", "attributes",
}  # fmt: skip
VALUES = {"stringValue": str, "intValue": str, "doubleValue": float}
"""opentelemetry-proto, common.proto AnyValue; 64-bit integers are texts in JSON (protobuf's JSON mapping)."""


class Collector:
    """Keeps the spans that came; answers `status`, and where that is 200 `answer`."""

    def __init__(self) -> None:
        self.spans: list[dict[str, Any]] = []
        self.resources: list[dict[str, Any]] = []
        self.status, self.url, self.asked = 200, "", 0
        self.answer: object = {}

    async def _take(self, request: web.Request) -> web.Response:
        self.asked += 1
        if self.status != 200:
            return web.Response(status=self.status)
        assert request.content_type == "application/json"
        (of_resource,) = (await request.json())["resourceSpans"]
        (of_scope,) = of_resource["scopeSpans"]
        for span in of_scope["spans"]:
            check(span)
        self.spans += of_scope["spans"]
        self.resources.append(of_resource["resource"])
        return web.json_response(self.answer)


def check(span: dict[str, Any]) -> None:
    """Raise AssertionError for what is no span."""
    assert span.keys() <= KEYS
    assert re.fullmatch("[0-9a-f]{32}", span["traceId"]) and re.fullmatch("[0-9a-f]{16}", span["spanId"])
    assert int(span["startTimeUnixNano"]) <= int(span["endTimeUnixNano"])
    for one in span["attributes"]:
        ((kind, value),) = one["value"].items()
        assert isinstance(value, VALUES[kind])


@asynccontextmanager
async def collector() -> AsyncIterator[Collector]:
    """Run one on a free port."""
    it = Collector()
    app = web.Application()
    app.add_routes([web.post("/v1/traces", it._take)])
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    it.url = f"http://{host}:{port}"
    try:
        yield it
    finally:
        await runner.cleanup()
