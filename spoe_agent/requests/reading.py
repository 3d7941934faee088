"""RequestFacts from what a front end saw of a request, by the same steps for all: what is routed is what Ollama runs.

1. `asked`: what its head shows. 2. `without_body`: what is known when no body need name a model. 3. Which one the body
names: `glimpsed` of beginning and end, `read` of all of it.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass, replace

from spoe_agent.requests.body import BodyError, at_once, is_form, model_reading
from spoe_agent.requests.changes import read_change
from spoe_agent.requests.glimpse import HEAD_BYTES, Glimpse, model_of
from spoe_agent.requests.hints import Purpose, beginning, hints_of
from spoe_agent.requests.wishes import WishError, read_wishes
from spoe_agent.routing import InstanceLoad, Kind, RequestFacts, RequestProblem
from spoe_agent.routing.rights import EVERYTHING, Rights
from spoe_agent.routing.surface import (
    DESCRIBE_PATH,
    EMBEDDING_PATHS,
    INFERENCE_PATHS,
    Dialect,
    classify,
    dialect,
    path_model,
)
from spoe_agent.routing.words import words_of

NO_FORM = "failed to parse multipart form: request Content-Type isn't multipart/form-data"
"""Ollama's text on what should be a form and is none."""

_NOT_COUNTED: Mapping[str, InstanceLoad] = {}


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
    wished: tuple[str, ...] = ()
    """Values of requests.wishes.HEADERS; "" for one that is not there."""
    rights: Rights = EVERYTHING


def facts(whole: Whole) -> RequestFacts:
    """Return what a whole request shows; counts are left to the router."""
    names_model = whole.method == "POST" and (whole.path in INFERENCE_PATHS or whole.path == DESCRIBE_PATH)
    document = beginning(whole.body[:HEAD_BYTES]) if names_model else None
    head = whole.request_id, whole.method, whole.path
    request = asked(*head, document, caller=whole.caller, body_bytes=len(whole.body), rights=whole.rights)
    try:
        request = request.wishing(read_wishes(*whole.wished))
    except WishError as error:
        return request.without_model(RequestProblem.BAD_HEADER, str(error))
    known = without_body(request, whole.path, whole.body)
    return known or at_once(read(request, whole.body, whole.content_type, whole.content_encoding))


def asked(
    request_id: str,
    method: str,
    path: str,
    document: object = None,
    *,
    caller: str = "",
    body_bytes: int = 0,
    loads: Mapping[str, InstanceLoad] = _NOT_COUNTED,
    process: str = "",
    tried: tuple[str, ...] = (),
    rights: Rights = EVERYTHING,
) -> RequestFacts:
    """Return what is known of a request before its model.

    `document`: of its body what could be parsed, if that may have hints.
    """
    hints = hints_of(path, document, is_whole=body_bytes <= HEAD_BYTES)
    kind = classify(method, path)
    is_unload = kind is Kind.INFERENCE and hints.purpose is Purpose.UNLOAD
    return RequestFacts(
        request_id,
        Kind.UNLOAD if is_unload else kind,
        dialect(path),
        words=words_of(path),
        loads=loads,
        servers=loads,
        caller=caller,
        body_bytes=body_bytes,
        num_ctx=hints.num_ctx,
        runner_options=hints.runner_options,
        only_loads=hints.purpose is Purpose.LOAD,
        embeds=path in EMBEDDING_PATHS,
        prefix=hints.prefix,
        process=process,
        tried=tried,
        rights=rights,
    )


def without_body(request: RequestFacts, path: str, body: bytes) -> RequestFacts | None:
    """Return all that is to be known of a request that no model is named for, or that names one in its path. None: its
    body names one.
    """
    if request.kind is Kind.MANAGE:
        return replace(request, change=read_change(path, body, request.body_bytes))
    if request.kind is Kind.LIST:
        return request
    in_path = path_model(path)
    return None if in_path is None else request.naming(in_path)


def glimpsed(request: RequestFacts, glimpse: Glimpse, document: object = None) -> RequestFacts:
    """Return the facts with the model that beginning and end of a body name, or with what is wrong with it.

    `document` and errors raised, but for BodyError: see `glimpse.model_of`.
    """
    if request.words.is_form and not is_form(glimpse.content_type):
        return request.without_model(RequestProblem.UNREADABLE, NO_FORM)
    try:
        return request.naming(model_of(glimpse, document))
    except BodyError as error:
        return _unreadable(request, error)


def read(
    request: RequestFacts, body: bytes, content_type: str, content_encoding: str
) -> Generator[None, None, RequestFacts]:
    """Return the facts with the model that a whole body names, or with what is wrong with it; with pauses, for a body
    may be large.
    """
    if request.words.is_form and not is_form(content_type):
        return request.without_model(RequestProblem.UNREADABLE, NO_FORM)
    try:
        name = yield from model_reading(body, *content(request, content_type, content_encoding))
    except BodyError as error:
        return _unreadable(request, error)
    return request.naming(name)


def content(request: RequestFacts, content_type: str, content_encoding: str) -> tuple[str, str, bool]:
    """Return how a body is to be read: its type if it is a form, its encoding, and whether `name` stands in for
    `model`. Ollama unpacks nothing on its own API, and no form.
    """
    words = request.words
    is_as_it_came = words.is_form or request.dialect is Dialect.OLLAMA
    return content_type if words.is_form else "", "" if is_as_it_came else content_encoding, words.takes_name


def _unreadable(request: RequestFacts, error: BodyError) -> RequestFacts:
    told = request.words.about(error.fault, error.found) or str(error)
    return request.without_model(RequestProblem.UNREADABLE, told)
