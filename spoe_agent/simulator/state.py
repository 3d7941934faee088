"""What the handlers of one simulated server share, and how they find it on the aiohttp application."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import asdict, dataclass

from aiohttp import web

from spoe_agent.simulator.catalog import Catalog
from spoe_agent.simulator.engine import Engine
from spoe_agent.simulator.faults import FaultBoard
from spoe_agent.simulator.profile import InstanceProfile


@dataclass(slots=True)
class RequestRecord:
    """One request that arrived, for tests that ask where things went. ``status`` is None while it runs."""

    method: str
    path: str
    at: float
    request_id: str | None
    host: str | None
    origin: str | None
    query: str
    headers: list[str]
    """Their names, in lower case."""
    traceparent: str | None = None
    model: str | None = None
    status: int | None = None

    def as_json(self) -> dict[str, object]:
        """The record as GET /sim/requests shows it."""
        return asdict(self)


def record_of(request: web.Request) -> RequestRecord:
    """The record of a request that arrives now."""
    headers = request.headers
    return RequestRecord(
        method=request.method,
        path=request.path,
        at=time.time(),
        request_id=headers.get("X-Request-Id"),
        host=headers.get("Host"),
        origin=headers.get("Origin"),
        query=request.query_string,
        headers=[name.lower() for name in headers],
        traceparent=headers.get("traceparent"),
    )


@dataclass(frozen=True, slots=True)
class SimulatedInstance:
    """A running simulated server: its engine, its store, its faults, and what it was asked."""

    profile: InstanceProfile
    catalog: Catalog
    engine: Engine
    faults: FaultBoard
    requests: deque[RequestRecord]


INSTANCE = web.AppKey("INSTANCE", SimulatedInstance)
RECORD = web.RequestKey("RECORD", RequestRecord)


def instance_of(request: web.Request) -> SimulatedInstance:
    """The server that a request arrived at."""
    return request.app[INSTANCE]
