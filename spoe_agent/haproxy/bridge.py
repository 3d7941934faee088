"""SPOE on one side, routing on the other: arguments to facts, Choice to variables.

The only file that knows both. All names that haproxy/spoe-pointsman.conf and haproxy.cfg share with the agent are
constants here; the renderer takes them from here.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import replace
from functools import lru_cache

from spoe_agent.requests.body import BodyError, model_reading, parsed
from spoe_agent.requests.changes import read_change
from spoe_agent.requests.glimpse import HEAD_BYTES, Glimpse, NeedsWhole, TooLarge, model_of
from spoe_agent.requests.hints import NONE, Hints, beginning, hints_of
from spoe_agent.routing import Action as Choices
from spoe_agent.routing import Choice, InstanceLoad, Policy, Problem, RequestFacts
from spoe_agent.routing.surface import Dialect, Kind, classify, dialect, error_type, path_model
from spoe_agent.routing.words import words_of
from spoe_agent.spop import Action, Message, Scope, SetVar

ROUTE = "route"
READ = "read"
CHANGE = "change"
INSPECT = "inspect"
HOLD = "hold"
MESSAGES = frozenset({ROUTE, READ, CHANGE, INSPECT, HOLD})

ROUTE_ARGS: Mapping[str, str] = {
    "id": "unique-id",
    "method": "method",
    "path": "var(txn.pm_path)",
    "size": "req.body_size",
    "caller": "var(txn.pm_caller)",
    "load": "var(txn.pm_load)",
    "process": "var(proc.pm_process)",
    "tried": "var(txn.pm_tried)",
}
"""Argument names of a `route` message, and the HAProxy sample that fills each."""

READ_ARGS: Mapping[str, str] = {
    **ROUTE_ARGS,
    "type": "req.fhdr(content-type)",
    "encoding": "req.fhdr(content-encoding)",
    "given": "req.fhdr(x-model)",
    "seen": "req.body_len",
    "head": f"req.body,bytes(0,{HEAD_BYTES})",
    "tail": "var(txn.pm_tail)",
}
"""The same for `read`: asked in place of `route` when the body names the model."""

CHANGE_ARGS: Mapping[str, str] = {**ROUTE_ARGS, "body": "req.body"}
"""The same for `change`: asked in place of `route` when the store is to be changed."""

INSPECT_ARGS: Mapping[str, str] = {
    **ROUTE_ARGS,
    "type": "req.fhdr(content-type)",
    "encoding": "req.fhdr(content-encoding)",
    "body": "req.body",
}
"""The same for `inspect`: asked after an answer "inspect", with the whole body."""

HOLD_ARGS: Mapping[str, str] = {"id": "unique-id", "process": "var(proc.pm_process)"}
"""The same for `hold`: asked after an answer "hold", and answered when a slot is free."""

VARIABLES = ("action", "server", "model", "status", "reason", "message", "error_type", "retry_after")
"""Variables of an answer; HAProxy has them as `txn.pm.NAME`."""

BODY_HEADROOM_BYTES = 65_536
"""What `tune.bufsize` is larger than the inspected part of a body: headers and HAProxy's own reserve."""


class Unasked(Exception):
    """The message lacks what its question needs: HAProxy's files are not of this version."""


def facts(message: Message, policy: Policy) -> RequestFacts:
    """Return what a `route`, `read` or `change` says of its request. Arguments are found by name; absent ones are no
    fault.

    Raises:
        NeedsWhole: only the whole body can tell which model is meant; `inspect` brings it.
        Unasked: see there.
    """
    args = message.args
    if message.name != READ:
        return _without_model(args, _facts(args, NONE))
    head = _bytes(args, "head")
    document = parsed(head) if len(head) >= _number(args, "size") else beginning(head)
    request = _facts(args, hints_of(_text(args, "path"), document))
    if request.kind in (Kind.LIST, Kind.MANAGE):
        return request
    try:
        return request.naming(model_of(_glimpse(args, policy, request), document))
    except BodyError as error:
        return _unreadable(request, error)
    except TooLarge:
        given = _text(args, "given")
        return request.naming(given) if given else request.without_model(Problem.TOO_LARGE)
    except NeedsWhole:
        if request.kind is Kind.INFERENCE:
            raise
        return request.without_model(Problem.TOO_LARGE)


def reading(message: Message) -> Generator[None, None, RequestFacts]:
    """Return what an `inspect` says of its request, with pauses: its body may be large."""
    args = message.args
    body = _bytes(args, "body")
    request = _facts(args, hints_of(_text(args, "path"), beginning(body[:HEAD_BYTES])))
    if request.kind in (Kind.LIST, Kind.MANAGE):
        return request
    encoding = _encoding(args, request)
    try:
        name = yield from model_reading(body, _text(args, "type"), encoding, request.words.takes_name)
    except BodyError as error:
        return _unreadable(request, error)
    return request.naming(name)


def _facts(args: Mapping[str, object], hints: Hints) -> RequestFacts:
    path, counts = _text(args, "path"), loads(_text(args, "load"))
    return RequestFacts(
        _text(args, "id"),
        classify(_text(args, "method"), path),
        dialect(path),
        words=words_of(path),
        loads=counts,
        servers=counts,
        caller=_text(args, "caller"),
        body_bytes=_number(args, "size"),
        num_ctx=hints.num_ctx,
        prefix=hints.prefix,
        process=_text(args, "process"),
        tried=_tried(_text(args, "tried")),
    )


def _glimpse(args: Mapping[str, object], policy: Policy, request: RequestFacts) -> Glimpse:
    seen, size = _number(args, "seen"), _number(args, "size")
    # Of a chunked body the size is what has come: it may go on behind what HAProxy can keep.
    is_within = size <= seen < policy.max_inspected_bytes
    content = _text(args, "type"), _encoding(args, request)
    return Glimpse(_bytes(args, "head"), _bytes(args, "tail"), size, is_within, *content, request.words.takes_name)


def _encoding(args: Mapping[str, object], request: RequestFacts) -> str:
    """Ollama unpacks nothing on its own API."""
    return "" if request.dialect is Dialect.OLLAMA else _text(args, "encoding")


def _unreadable(request: RequestFacts, error: BodyError) -> RequestFacts:
    told = request.words.about(error.fault, error.found) or str(error)
    return request.without_model(Problem.UNREADABLE, told)


def _without_model(args: Mapping[str, object], request: RequestFacts) -> RequestFacts:
    """Return what is known when no body was to name a model."""
    path = _text(args, "path")
    if request.kind is Kind.MANAGE:
        return replace(request, change=read_change(path, _bytes(args, "body")))
    if request.kind is Kind.LIST:
        return request
    in_path = path_model(path)
    if in_path is None:
        raise Unasked("`route` for a body that names the model: render HAProxy's files again")
    return request.naming(in_path)


@lru_cache(maxsize=512)
def loads(text: str) -> Mapping[str, InstanceLoad]:
    """Return HAProxy's counts from `name:connections:queued:up:tag` entries; entries of another form are left out."""
    found: dict[str, InstanceLoad] = {}
    for entry in text.split():
        name, *numbers = entry.split(":")
        tag = numbers.pop() if len(numbers) == 4 else ""
        if len(numbers) == 3 and all(number.isdecimal() for number in numbers):
            found[name] = InstanceLoad(int(numbers[0]), int(numbers[1]), numbers[2] != "0", tag)
    return found


NOBODY = "-"
"""Stands among the tried ones for a pass in which no instance was named."""


def _tried(text: str) -> tuple[str, ...]:
    """Return whom earlier passes named, from `/gpu1//-/`."""
    return tuple("" if name == NOBODY else name for name in text.split("/") if name)


def request_id(message: Message) -> str:
    """Return the id of a message's request."""
    return _text(message.args, "id")


def process(message: Message) -> str:
    """Return the name of the HAProxy process that asks; "" when it gave none."""
    return _text(message.args, "process")


def actions(choice: Choice, request: RequestFacts) -> tuple[Action, ...]:
    """Return the variables that tell HAProxy what was chosen."""
    found: dict[str, str | int] = {"action": str(choice.action), "reason": choice.reason_text}
    if request.asked:
        found["model"] = request.asked
    if choice.action is Choices.ROUTE:
        found["server"] = choice.instance or ""
    elif choice.action is Choices.REJECT:
        found["status"] = choice.status
        found["message"] = choice.message
        found["error_type"] = error_type(request.dialect, choice.status)
    if choice.retry_after_s is not None:
        found["retry_after"] = choice.retry_after_s
    return tuple(SetVar(Scope.TXN, name, value) for name, value in found.items())


def whole_wanted() -> tuple[Action, ...]:
    """Return the variables that have HAProxy ask again, with the whole body."""
    return (SetVar(Scope.TXN, "action", INSPECT), SetVar(Scope.TXN, "reason", INSPECT))


def _text(args: Mapping[str, object], name: str) -> str:
    value = args.get(name)
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return "" if value is None else str(value)


def _bytes(args: Mapping[str, object], name: str) -> bytes:
    value = args.get(name)
    return value if isinstance(value, bytes) else str(value or "").encode()


def _number(args: Mapping[str, object], name: str) -> int:
    value = args.get(name)
    return value if isinstance(value, int) else 0
