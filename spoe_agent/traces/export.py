"""Sends the agent's spans to a collector: OTLP over HTTP, in JSON. Serving never waits for it.

A collector that does not take them is said once; the spans of that time are lost, and counted.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import aiohttp
import structlog
from pydantic_core import from_json

from spoe_agent import __version__
from spoe_agent.agent.spans import Spans
from spoe_agent.fleet import Policies
from spoe_agent.instances.http import said

log = structlog.get_logger()

INTERVAL_S = 1.0
ANSWER_S = 5.0
LEAVE_S = 0.3
"""So long the last ones may take."""

PATH = "/v1/traces"


class Exporter:
    """Of one agent; `run` must be running. `wall`, `clock`: seconds since 1970, and the agent's."""

    def __init__(
        self,
        spans: Spans,
        policies: Policies,
        wall: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
        interval_s: float = INTERVAL_S,
    ) -> None:
        self._spans = spans
        self._wall, self._clock = wall, clock
        self._interval_s = interval_s
        self._trouble = ""
        self.adopt(policies)

    def adopt(self, policies: Policies) -> None:
        """Send where another fleet file says, from now on."""
        self._endpoint = policies.traces.endpoint
        self._spans.is_wanted = self._endpoint is not None
        self._spans.wall_offset_s = self._wall() - self._clock()

    def warnings(self) -> list[str]:
        """Return what people should know: that spans do not arrive, and why."""
        return [f"{self._trouble}: spans of decisions are lost"] if self._trouble else []

    async def run(self) -> None:
        """Send each second what there is, until cancelled."""
        timeout = aiohttp.ClientTimeout(total=ANSWER_S)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            while True:
                await asyncio.sleep(self._interval_s)
                await self._send(session)

    async def leave(self) -> None:
        """Send the last ones."""
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=LEAVE_S)) as session:
            await self._send(session)

    async def _send(self, session: aiohttp.ClientSession) -> None:
        self._spans.wall_offset_s = self._wall() - self._clock()
        spans = self._spans.take()
        if not spans or self._endpoint is None:
            return
        try:
            async with session.post(f"{self._endpoint}{PATH}", json=request(spans), allow_redirects=False) as answer:
                lost, why = refused(await answer.read()) if answer.status == 200 else (len(spans), str(answer.status))
                trouble = f"{self._endpoint}{PATH} answers {why}" if lost else ""
        except (OSError, TimeoutError, aiohttp.ClientError) as error:
            lost, trouble = len(spans), f"{self._endpoint}: {said(error)}"
        lost = min(lost, len(spans))
        self._spans.lost += lost
        self._spans.sent += len(spans) - lost
        self._say(trouble)

    def _say(self, trouble: str) -> None:
        if trouble and not self._trouble:
            log.warning("spans cannot be sent; requests are served on", why=trouble)
        elif self._trouble and not trouble:
            log.info("spans are sent again", lost=self._spans.lost)
        self._trouble = trouble


def refused(body: bytes) -> tuple[int, str]:
    """Return how many spans a collector did not take that answers 200, and why: an ExportTraceServiceResponse's
    `partialSuccess`. Collectors answer in other forms too, and then have taken all.
    """
    try:
        partial = from_json(body)["partialSuccess"]
        return int(partial["rejectedSpans"]), str(partial.get("errorMessage", ""))
    except (ValueError, KeyError, TypeError, AttributeError):
        return 0, ""


def request(spans: list[dict[str, Any]]) -> dict[str, Any]:
    """Return an ExportTraceServiceRequest."""
    about = {"service.name": "pointsman", "service.version": __version__}
    resource = {"attributes": [{"key": key, "value": {"stringValue": value}} for key, value in about.items()]}
    scope = {"name": "pointsman", "version": __version__}
    return {"resourceSpans": [{"resource": resource, "scopeSpans": [{"scope": scope, "spans": spans}]}]}
