"""SPOE on one side, routing on the other: arguments to facts, Choice to variables.

The only file that knows both. All names that haproxy/spoe-pointsman.conf and haproxy.cfg share with the agent are
constants here; the renderer takes them from here. Must not live here: I/O, decisions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache

from spoe_agent.requests.body import BodyError, read_model
from spoe_agent.requests.changes import read_change
from spoe_agent.routing import Action as Choices
from spoe_agent.routing import Choice, InstanceLoad, Policy, Problem, RequestFacts
from spoe_agent.routing.surface import Dialect, Kind, classify, dialect, error_type, path_model
from spoe_agent.routing.words import words_of
from spoe_agent.spop import Action, Message, Scope, SetVar

ROUTE = "route"
INSPECT = "inspect"
HOLD = "hold"
MESSAGES = frozenset({ROUTE, INSPECT, HOLD})

ROUTE_ARGS: Mapping[str, str] = {
    "id": "unique-id",
    "method": "method",
    "path": "var(txn.pm_path)",
    "model": "var(txn.pm_model)",
    "seen": "var(txn.pm_seen)",
    "size": "req.body_size",
    "num_ctx": "var(txn.pm_num_ctx)",
    "prefix": "var(txn.pm_prefix)",
    "caller": "var(txn.pm_caller)",
    "load": "var(txn.pm_load)",
    "process": "var(proc.pm_process)",
    "tried": "var(txn.pm_tried)",
}
"""Argument names of a `route` message, and the HAProxy sample that fills each."""

INSPECT_ARGS: Mapping[str, str] = {
    **ROUTE_ARGS,
    "type": "req.fhdr(content-type)",
    "encoding": "req.fhdr(content-encoding)",
    "body": "req.body",
}
"""The same for `inspect`: sent when HAProxy itself saw no model in a whole body, or the store is to be changed."""

HOLD_ARGS: Mapping[str, str] = {"id": "unique-id", "process": "var(proc.pm_process)"}
"""The same for `hold`: asked after an answer "hold", and answered when a slot is free."""

VARIABLES = ("action", "server", "status", "reason", "message", "error_type", "retry_after")
"""Variables of an answer; HAProxy has them as `txn.pm.NAME`."""

BODY_HEADROOM_BYTES = 65_536
"""What `tune.bufsize` is larger than the inspected part of a body: headers and HAProxy's own reserve."""


class Unasked(Exception):
    """The message lacks what its question needs: HAProxy lost the answer to the one before it."""


def facts(message: Message, policy: Policy) -> RequestFacts:
    """Return what a NOTIFY's message says of its request. Arguments are found by name; absent ones are no fault.

    Raises:
        Unasked: `route` without a model although the body was seen whole. `inspect` was to bring the body, and its
            answer came too late; no answer is the right one now, because the request is in order.
    """
    args = message.args
    path, counts = _text(args, "path"), loads(_text(args, "load"))
    kind = classify(_text(args, "method"), path)
    request = RequestFacts(
        _text(args, "id"),
        kind,
        dialect(path),
        words=words_of(path),
        loads=counts,
        servers=counts,
        caller=_text(args, "caller"),
        body_bytes=_number(args, "size"),
        num_ctx=_number(args, "num_ctx") or None,
        prefix=_text(args, "prefix"),
        process=_text(args, "process"),
        tried=_tried(_text(args, "tried")),
    )
    if request.kind is Kind.MANAGE:
        return replace(request, change=read_change(path, _bytes(args, "body")))
    if request.kind is Kind.LIST:
        return request
    in_path = path_model(path)
    if in_path is not None:
        return request.naming(in_path)
    if args.get("model"):
        return request.naming(_text(args, "model"))
    if _beyond_inspection(args, policy):
        return request.without_model(Problem.TOO_LARGE)
    if message.name == ROUTE and _number(args, "seen"):
        raise Unasked("the answer to `inspect` came too late")
    # Ollama unpacks nothing on its own API.
    encoding = "" if request.dialect is Dialect.OLLAMA else _text(args, "encoding")
    try:
        return request.naming(read_model(_bytes(args, "body"), _text(args, "type"), encoding, request.words.takes_name))
    except BodyError as error:
        told = request.words.about(error.fault, error.found) or str(error)
        return request.without_model(Problem.UNREADABLE, told)


def _beyond_inspection(args: Mapping[str, object], policy: Policy) -> bool:
    """Tell whether the body goes on behind what HAProxy buffered (for chunked bodies: filled the inspected size)."""
    seen, size = _number(args, "seen"), _number(args, "size")
    return seen < size or seen >= policy.max_inspected_bytes


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
    found: dict[str, str | int] = {"action": str(choice.action), "reason": choice.reason}
    if choice.action is Choices.ROUTE:
        found["server"] = choice.instance or ""
    elif choice.action is Choices.REJECT:
        found["status"] = choice.status
        found["message"] = choice.message
        found["error_type"] = error_type(request.dialect, choice.status)
    if choice.retry_after_s is not None:
        found["retry_after"] = choice.retry_after_s
    return tuple(SetVar(Scope.TXN, name, value) for name, value in found.items())


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
