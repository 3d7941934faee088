"""RequestFacts from a whole request.

Must not live here: what HAProxy reads itself (bridge), how a body names its model (body).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from pydantic_core import from_json

from spoe_agent.body import BodyError, read_model
from spoe_agent.routing import Kind, Problem, RequestFacts
from spoe_agent.routing.surface import DESCRIBE_PATH, INFERENCE_PATHS, classify, dialect, path_model

BEARER = "bearer "
INSTRUCTIONS = frozenset({"system", "developer"})
"""Roles of a first message that many conversations share; the second one tells them apart."""


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
    authorization: str = ""
    source: str = ""
    """The client's address."""


def facts(whole: Whole) -> RequestFacts:
    """Return what a request shows, as haproxy.cfg and the bridge find it; counts are left to the router."""
    path = whole.path
    request = RequestFacts(
        whole.request_id,
        classify(whole.method, path),
        dialect(path),
        caller=_caller(whole),
        body_bytes=len(whole.body),
    )
    if whole.method == "POST" and (path in INFERENCE_PATHS or path == DESCRIBE_PATH):
        request = _with_hints(request, path, whole.body)
    return request if request.kind in (Kind.LIST, Kind.MANAGE) else _named(request, whole)


def _named(request: RequestFacts, whole: Whole) -> RequestFacts:
    in_path = path_model(whole.path)
    if in_path is not None:
        return request.naming(in_path)
    try:
        return request.naming(read_model(whole.body, whole.content_type, whole.content_encoding))
    except BodyError as error:
        return request.without_model(Problem.UNREADABLE, str(error))


def _caller(whole: Whole) -> str:
    """Return whose request it is: a hash of the bearer token, which nobody shall read in a log, else the address."""
    scheme, token = whole.authorization[: len(BEARER)], whole.authorization[len(BEARER) :].strip()
    return _hash(token) if scheme.lower() == BEARER and token else whole.source


def _with_hints(request: RequestFacts, path: str, body: bytes) -> RequestFacts:
    """Add `options.num_ctx` (which only Ollama's own API has) and the conversation's beginning, if they are there."""
    try:
        document = from_json(body)
    except ValueError:
        return request
    if not isinstance(document, dict):
        return request
    options = document.get("options")
    number = options.get("num_ctx") if isinstance(options, dict) and path.startswith("/api/") else None
    context = number if isinstance(number, int) and not isinstance(number, bool) else None
    return replace(request, num_ctx=context or None, prefix=_prefix(document.get("messages")))


def _prefix(messages: Any) -> str:
    """Return a hash of the first message, and of the one after it when that is the system's; "" when there is none."""
    first, second = _message(messages, 0), _message(messages, 1)
    if "content" not in first:
        return ""
    shared = first.get("role") in INSTRUCTIONS and "content" in second
    return _hash(_text(first["content"])) + "/" + (_hash(_text(second["content"])) if shared else "")


def _message(messages: Any, place: int) -> Mapping[str, Any]:
    found = messages[place] if isinstance(messages, list) and len(messages) > place else {}
    return found if isinstance(found, dict) else {}


def _text(content: Any) -> str:
    return content if isinstance(content, str) else json.dumps(content)


def _hash(text: str) -> str:
    return hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=8).hexdigest()
