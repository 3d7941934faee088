"""RequestFacts from a whole request."""

from __future__ import annotations

from dataclasses import dataclass, replace

from spoe_agent.requests.body import BodyError, read_model
from spoe_agent.requests.changes import read_change
from spoe_agent.requests.glimpse import HEAD_BYTES
from spoe_agent.requests.hints import beginning, hints_of
from spoe_agent.routing import Kind, Problem, RequestFacts
from spoe_agent.routing.surface import DESCRIBE_PATH, INFERENCE_PATHS, Dialect, classify, dialect, path_model
from spoe_agent.routing.words import words_of


@dataclass(frozen=True, slots=True)
class Whole:
    """A request with all of its body."""

    request_id: str
    method: str
    path: str
    """Decoded, and without the query."""
    body: bytes = b""
    """Encoded as it came."""
    content_type: str = ""
    content_encoding: str = ""
    caller: str = ""
    """Of requests.caller."""


def facts(whole: Whole) -> RequestFacts:
    """Return what a request shows, as haproxy.cfg and the bridge find it; counts are left to the router."""
    path = whole.path
    request = RequestFacts(
        whole.request_id,
        classify(whole.method, path),
        dialect(path),
        words=words_of(path),
        caller=whole.caller,
        body_bytes=len(whole.body),
    )
    if whole.method == "POST" and (path in INFERENCE_PATHS or path == DESCRIBE_PATH):
        hints = hints_of(path, beginning(whole.body[:HEAD_BYTES]))
        request = replace(request, num_ctx=hints.num_ctx, prefix=hints.prefix)
    if request.kind is Kind.MANAGE:
        return replace(request, change=read_change(path, whole.body))
    return request if request.kind is Kind.LIST else _named(request, whole)


def _named(request: RequestFacts, whole: Whole) -> RequestFacts:
    in_path = path_model(whole.path)
    if in_path is not None:
        return request.naming(in_path)
    # Ollama unpacks nothing on its own API.
    encoding = "" if request.dialect is Dialect.OLLAMA else whole.content_encoding
    try:
        return request.naming(read_model(whole.body, whole.content_type, encoding, request.words.takes_name))
    except BodyError as error:
        told = request.words.about(error.fault, error.found) or str(error)
        return request.without_model(Problem.UNREADABLE, told)
