"""Answers given at the door, as haproxy.cfg gives them: errors in the caller's dialect."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from spoe_agent.routing import Choice, Dialect, RequestFacts
from spoe_agent.routing.surface import ERROR_FORMS, error_type

FAILED = "the proxy failed on this request; its log has the details"
BROKEN = "the Ollama instance closed the connection before it answered"
WAITED = "no Ollama instance could take the request in time"


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole response that no instance was asked for."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


def error_body(dialect: Dialect, status: int, message: str, request_id: str = "") -> bytes:
    """Return an error's body as the caller's library reads it. The id is shown in Anthropic's dialect only."""
    form = ERROR_FORMS[dialect]
    quoted = json.dumps(message, ensure_ascii=False)[1:-1]
    text = form.before + quoted + form.between + error_type(dialect, status) + form.after
    return (text + request_id + form.end if form.end else text).encode("utf-8", "replace")


def error(request: RequestFacts, status: int, message: str, retry_after_s: int | None = None) -> Answer:
    """Return an error to this request."""
    headers = {"Content-Type": "application/json" + ("; charset=utf-8" if request.dialect is Dialect.OLLAMA else "")}
    if retry_after_s is not None:
        headers["Retry-After"] = str(retry_after_s)
    return Answer(status, headers, error_body(request.dialect, status, message, request.request_id))


def rejection(choice: Choice, request: RequestFacts) -> Answer:
    """Return what the caller of a request that was not routed is told."""
    return error(request, choice.status, choice.message, choice.retry_after_s)
