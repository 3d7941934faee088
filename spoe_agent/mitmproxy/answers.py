"""Answers given at the door, as haproxy.cfg gives them: errors in the caller's dialect."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from spoe_agent.requests.errors import error_body
from spoe_agent.routing import Action, Choice, Dialect, Reason, RequestFacts

FAILED = "the proxy failed on this request; its log has the details"
BROKEN = "the Ollama instance closed the connection before it answered"
LISTED = Choice(Action.ROUTE, Reason.LIST)
"""Answered here, for the whole fleet."""

WAITED = "no Ollama instance could take the request in time"


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole response that no instance was asked for."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


def error(request: RequestFacts, status: int, message: str, retry_after_s: int | None = None) -> Reply:
    """Return an error to this request."""
    headers = {"Content-Type": "application/json" + ("; charset=utf-8" if request.dialect is Dialect.OLLAMA else "")}
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer realm=pointsman"
    if retry_after_s is not None:
        headers["Retry-After"] = str(retry_after_s)
    return Reply(status, headers, error_body(request.dialect, status, message, request.request_id))


def rejection(choice: Choice, request: RequestFacts) -> Reply:
    """Return what the caller of a request that was not routed is told."""
    return error(request, choice.status, choice.message, choice.retry_after_s)
