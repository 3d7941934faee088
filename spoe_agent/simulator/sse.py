"""Server-sent events as the /v1 endpoints write them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import MappingProxyType

SSE_HEADERS: Mapping[str, str] = MappingProxyType({"Content-Type": "text/event-stream"})
# The middleware of /v1/responses and /v1/messages sets these too.
SSE_HEADERS_NO_CACHE: Mapping[str, str] = MappingProxyType(
    {"Content-Type": "text/event-stream", "Cache-Control": "no-cache", "Connection": "keep-alive"}
)
DONE = b"data: [DONE]\n\n"


def data(value: object) -> bytes:
    """An event without a name."""
    return b"data: " + json.dumps(value, separators=(",", ":")).encode() + b"\n\n"


def named(value: Mapping[str, object]) -> bytes:
    """An event whose name is the ``type`` of its data."""
    return f"event: {value['type']}\n".encode() + data(value)
