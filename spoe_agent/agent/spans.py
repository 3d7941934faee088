"""Spans of OpenTelemetry: one for each decision on a request that has ended, until they are sent (`spoe_agent.traces`).

As OTLP has them in JSON (opentelemetry-proto, docs/specification.md): ids in hexadecimal, times as texts. A span is a
part of the trace that the client's `traceparent` names (W3C Trace Context, version 00), or of none. Nothing of a prompt
and no caller is in it.
"""

from __future__ import annotations

import re
import secrets
from collections import deque
from typing import Any

from spoe_agent.agent.history import PastRequest
from spoe_agent.routing.names import display

MOST = 2048
"""Spans that wait to be sent: OpenTelemetry's own bound. Older ones are lost beyond, and counted."""

_PARENT = re.compile(r"00-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})")
_SAMPLED = 1
_INTERNAL = 1
"""SPAN_KIND_INTERNAL."""


class Spans:
    """Of one agent. None are made unless somebody takes them."""

    def __init__(self) -> None:
        self.is_wanted = False
        self.wall_offset_s = 0.0
        """Seconds since 1970 less those of the agent's clock."""
        self.sent = 0
        """Counted by whoever takes them, like those that cannot be sent."""
        self.lost = 0
        self._waiting: deque[dict[str, Any]] = deque()

    def take(self) -> list[dict[str, Any]]:
        """Return the spans that wait, oldest first; the caller has them now."""
        found = list(self._waiting)
        self._waiting.clear()
        return found

    def ended(self, entry: PastRequest) -> None:
        """Add the decision on a request, unless its trace is one that is not recorded."""
        parent = _PARENT.fullmatch(entry.facts.trace)
        if not self.is_wanted or (parent is not None and not int(parent[3], 16) & _SAMPLED):
            return
        if len(self._waiting) >= MOST:
            self._waiting.popleft()
            self.lost += 1
        begun_s = entry.at_s + self.wall_offset_s
        self._waiting.append(
            {
                "traceId": secrets.token_hex(16) if parent is None else parent[1],
                "spanId": secrets.token_hex(8),
                **({} if parent is None else {"parentSpanId": parent[2]}),
                "name": "pointsman decide",
                "kind": _INTERNAL,
                "startTimeUnixNano": _nanoseconds(begun_s),
                "endTimeUnixNano": _nanoseconds(begun_s + (entry.held_s or 0.0)),
                "attributes": [
                    _attribute(key, value) for key, value in _attributes(entry).items() if value is not None
                ],
            }
        )


def _attributes(entry: PastRequest) -> dict[str, str | int | float | None]:
    facts, choice, line = entry.facts, entry.choice, entry.line
    first_byte_s = -1.0 if line is None else line.ending.first_byte_s
    return {
        "pointsman.id": facts.request_id,
        "pointsman.request_id": line.name if line is not None else None,
        "pointsman.action": str(choice.action),
        "pointsman.reason": choice.reason_text,
        "pointsman.instance": choice.instance,
        "gen_ai.request.model": display(facts.model) if facts.model else None,
        "pointsman.held_s": entry.held_s,
        "pointsman.predicted_s": entry.predicted_s,
        "pointsman.first_byte_s": None if first_byte_s < 0 else first_byte_s,
        "http.response.status_code": line.status if line is not None else None,
    }


def _attribute(key: str, value: str | int | float) -> dict[str, Any]:
    if isinstance(value, int):
        return {"key": key, "value": {"intValue": str(value)}}
    return {"key": key, "value": {"doubleValue": value} if isinstance(value, float) else {"stringValue": value}}


def _nanoseconds(seconds: float) -> str:
    return str(round(seconds * 1e9))
