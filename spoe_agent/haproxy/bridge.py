"""SPOE on one side, routing on the other: arguments to facts, Choice to variables.

The only file that knows both. What the names mean to HAProxy is in `contract`.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from functools import lru_cache

from spoe_agent.haproxy.contract import APPLY_PATH, CHANGES_SERVER, NOBODY, Argument, Question, Variable
from spoe_agent.keys.entry import rights_of
from spoe_agent.requests.body import parsed
from spoe_agent.requests.errors import error_type
from spoe_agent.requests.glimpse import HEAD_BYTES, Glimpse, TooLarge
from spoe_agent.requests.hints import beginning
from spoe_agent.requests.reading import asked, content, glimpsed, read, without_body
from spoe_agent.requests.wishes import WishError, unpacked
from spoe_agent.routing import Action, Choice, InstanceLoad, Policy, RequestFacts, RequestProblem
from spoe_agent.routing.rights import EVERYTHING
from spoe_agent.routing.surface import Kind
from spoe_agent.spop import Message, Scope, SetVar, VarAction


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
    if args.get("wish") is None:
        found = _facts(message, policy)
    else:
        found = _refused(args) or _facts(message, policy).wishing(unpacked(_text(args, "wish")))
    return found.tracing(_text(args, "trace")) if "trace" in args else found


def _refused(args: Mapping[str, object]) -> RequestFacts | None:
    """Return the facts of a request with a header of ours that cannot be read: that is told before all else."""
    try:
        unpacked(_text(args, "wish"))
    except WishError as error:
        return _asked(args).without_model(RequestProblem.BAD_HEADER, str(error))
    return None


def _facts(message: Message, policy: Policy) -> RequestFacts:
    args = message.args
    if message.name != Question.READ:
        known = without_body(_asked(args), _text(args, "path"), _bytes(args, "body"))
        if known is None:
            raise Unasked("`route` for a body that names the model: render HAProxy's files again")
        return known
    head = _bytes(args, "head")
    document = parsed(head) if len(head) >= _number(args, "size") else beginning(head)
    request = _asked(args, document)
    if request.kind in (Kind.LIST, Kind.MANAGE):
        return request
    try:
        glimpse = _glimpse(args, policy, request)
        if request.rights.models is not None and not glimpse.is_within:
            raise TooLarge
        return glimpsed(request, glimpse, document)
    except TooLarge:
        # What is said of a body holds for who may use any model; where it matters, the body itself must.
        given = _text(args, "given") if request.rights.models is None else ""
        return request.naming(given) if given else request.without_model(RequestProblem.TOO_LARGE)


def unread(message: Message) -> RequestFacts:
    """Return what an `inspect` says of its request without its body."""
    return _asked(message.args)


def reading(message: Message) -> Generator[None, None, RequestFacts]:
    """Return what an `inspect` says of its request, with pauses: its body may be large."""
    args = message.args
    refused = _refused(args)
    if refused is not None:
        return refused
    body = _bytes(args, "body")
    request = _asked(args, beginning(body[:HEAD_BYTES]))
    if request.kind in (Kind.LIST, Kind.MANAGE):
        return request
    found = yield from read(request, body, _text(args, "type"), _text(args, "encoding"))
    return found.wishing(unpacked(_text(args, "wish"))).tracing(_text(args, "trace"))


def _asked(args: Mapping[str, object], document: object = None) -> RequestFacts:
    return asked(
        _text(args, "id"),
        _text(args, "method"),
        _text(args, "path"),
        document,
        caller=_text(args, "caller"),
        body_bytes=_number(args, "size"),
        loads=loads(_text(args, "load")),
        process=_text(args, "process"),
        tried=_tried(_text(args, "tried")),
        rights=rights_of(_text(args, "key")) if args.get("key") else EVERYTHING,
    )


def _glimpse(args: Mapping[str, object], policy: Policy, request: RequestFacts) -> Glimpse:
    seen, size = _number(args, "seen"), _number(args, "size")
    # Of a chunked body the size is what has come: it may go on behind what HAProxy can keep.
    is_within = size <= seen < policy.max_inspected_bytes
    how = content(request, _text(args, "type"), _text(args, "encoding"))
    return Glimpse(_bytes(args, "head"), _bytes(args, "tail"), size, is_within, *how)


def loads(text: str) -> Mapping[str, InstanceLoad]:
    """Return HAProxy's counts from `name:connections:queued:up:tag` entries; entries of another form are left out."""
    return {name: load for entry in text.split() for name, load in _load(entry)}


# Texts are seldom the same twice while requests come and go; the entries of one instance are.
@lru_cache(maxsize=4096)
def _load(entry: str) -> tuple[tuple[str, InstanceLoad], ...]:
    name, *numbers = entry.split(":")
    tag = numbers.pop() if len(numbers) == 4 else ""
    if len(numbers) != 3 or not all(number.isdecimal() for number in numbers):
        return ()
    return ((name, InstanceLoad(int(numbers[0]), int(numbers[1]), numbers[2] != "0", tag)),)


def _tried(text: str) -> tuple[str, ...]:
    """Return whom earlier passes named, from `/gpu1//-/`."""
    return tuple("" if name == NOBODY else name for name in text.split("/") if name)


def has_key(message: Message) -> bool | None:
    """Tell whether somebody asks whom HAProxy let in by a key, or who needs none; None: the question does not tell. Of
    what `pointsman apply` asks, HAProxy has not looked for a key.
    """
    if message.name == Question.HOLD or _text(message.args, "path") == APPLY_PATH:
        return None
    return bool(message.args.get("key"))


def request_id(message: Message) -> str:
    """Return the id of a message's request."""
    return _text(message.args, "id")


def body_bytes(message: Message) -> int:
    """Return how much of a body a message brings."""
    return len(_bytes(message.args, "body"))


def process(message: Message) -> str:
    """Return the name of the HAProxy process that asks; "" when it gave none."""
    return _text(message.args, "process")


def actions(choice: Choice, request: RequestFacts, is_repeated: bool = False) -> tuple[VarAction, ...]:
    """Return the variables that tell HAProxy what was chosen, and whether the request goes elsewhere if it fails."""
    found: dict[Variable, str | int] = {"action": str(choice.action), "reason": choice.reason_text}
    if request.asked:
        found["model"] = request.asked
    if choice.action is Action.ROUTE:
        found["server"] = CHANGES_SERVER if choice.writings else choice.instance or ""
    elif choice.action is Action.REJECT:
        found["status"] = choice.status
        found["message"] = choice.message
        found["error_type"] = error_type(request.dialect, choice.status)
    if choice.retry_after_s is not None:
        found["retry_after"] = choice.retry_after_s
    if is_repeated:
        found["repeat"] = 1
    return tuple(variable(name, value) for name, value in found.items())


def variable(name: Variable, value: str | int) -> VarAction:
    """Return what sets a variable."""
    return SetVar(Scope.TXN, name, value)


def whole_wanted() -> tuple[VarAction, ...]:
    """Return the variables that have HAProxy ask again, with the whole body."""
    return (variable("action", Question.INSPECT), variable("reason", Question.INSPECT))


def _text(args: Mapping[str, object], name: Argument) -> str:
    """Return an argument as text that has a form in UTF-8, whatever bytes it came as: much of it is written down."""
    value = args.get(name)
    if isinstance(value, str) and not value.isascii():
        value = value.encode("utf-8", "surrogateescape")
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return "" if value is None else str(value)


def _bytes(args: Mapping[str, object], name: Argument) -> bytes:
    """Return an argument byte by byte as it came, also what was cut within a character."""
    value = args.get(name)
    return value if isinstance(value, bytes) else str(value or "").encode("utf-8", "surrogateescape")


def _number(args: Mapping[str, object], name: Argument) -> int:
    value = args.get(name)
    return value if isinstance(value, int) else 0
