"""An error's body as the caller's library reads it: in Ollama's own dialect, OpenAI's or Anthropic's.

haproxy.cfg puts bodies together of the same pieces.
"""

from __future__ import annotations

import json
from typing import NamedTuple

from spoe_agent.routing import Dialect

# OpenAI: openai/openai.go NewError; Anthropic: anthropic/anthropic.go NewError.
_OPENAI_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    404: "not_found_error",
    429: "rate_limit_error",
}
_ANTHROPIC_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
}


class ErrorForm(NamedTuple):
    """An error's JSON around what differs: the message, the type, the request's id."""

    before: str
    between: str = ""
    """Message and type."""
    after: str = ""
    """Type and id."""
    end: str = ""


ERROR_FORMS = {
    Dialect.OLLAMA: ErrorForm('{"error":"', '"}'),
    Dialect.OPENAI: ErrorForm('{"error":{"message":"', '","type":"', '","param":null,"code":null}}'),
    Dialect.ANTHROPIC: ErrorForm('{"type":"error","error":{"message":"', '","type":"', '"},"request_id":"', '"}'),
}
"""In Ollama's and OpenAI's no id is shown."""


def error_type(in_dialect: Dialect, status: int) -> str:
    """Return the `type` that Ollama gives an error of this status in this dialect ("" in its own)."""
    if in_dialect is Dialect.OPENAI:
        return _OPENAI_TYPES.get(status, "api_error")
    if in_dialect is Dialect.ANTHROPIC:
        return _ANTHROPIC_TYPES.get(status, "api_error")
    return ""


def error_body(dialect: Dialect, status: int, message: str, request_id: str = "") -> bytes:
    """Return a whole body. The id is shown in Anthropic's dialect only."""
    form = ERROR_FORMS[dialect]
    quoted = json.dumps(message, ensure_ascii=False)[1:-1]
    text = form.before + quoted + form.between + error_type(dialect, status) + form.after
    return (text + request_id + form.end if form.end else text).encode("utf-8", "replace")
