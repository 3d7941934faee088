"""What HAProxy's files and the agent's code say alike: names, the log's line, times that code relies on.

The templates are filled from here and code goes by it; a test compares both with what is rendered. HAProxy's own
settings that no code knows of stand in the templates.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, get_args

from spoe_agent.requests.changes import CHANGE_BYTES
from spoe_agent.routing.facts import LogCaller
from spoe_agent.spop import Hello, encode_haproxy_hello
from spoe_agent.spop.values import string, value

AGENT_BACKEND = "pointsman_agent"
"""Where HAProxy finds the agent."""


class Question(StrEnum):
    """Names of messages: what HAProxy asks."""

    ROUTE = "route"
    READ = "read"
    """In place of `route` when the body names the model."""
    CHANGE = "change"
    """In place of `route` when the store is to be changed."""
    INSPECT = "inspect"
    """After an answer "inspect", with the whole body."""
    HOLD = "hold"
    """After an answer "hold"; answered when a slot is free."""


Argument = Literal[
    "id", "method", "path", "size", "caller", "key", "load", "process", "tried", "wish", "trace",
    "type", "encoding", "given", "seen", "head", "tail", "body",
]  # fmt: skip
"""Names of a message's arguments."""

HEADER_BYTES = 300
"""How much of a header is sent: HAProxy's may be as large as its buffers."""
PATH_BYTES = 2048

_ROUTE: Mapping[Argument, str] = {
    "id": "unique-id",
    "method": "method,bytes(0,32)",
    "path": f"var(txn.pm_path),bytes(0,{PATH_BYTES})",
    "size": "req.body_size",
    "caller": "var(txn.pm_caller)",
    "key": "var(txn.pm_key)",
    "load": "var(txn.pm_load)",
    "process": "var(proc.pm_process)",
    "tried": "var(txn.pm_tried)",
    "wish": "var(txn.pm_wish)",
}

_CONTENT: Mapping[Argument, str] = {
    "type": f"req.fhdr(content-type,1),bytes(0,{HEADER_BYTES})",
    "encoding": f"req.fhdr(content-encoding,1),bytes(0,{HEADER_BYTES})",
}

AT_ONCE: Mapping[Question, Mapping[Argument, str]] = {
    Question.ROUTE: _ROUTE,
    Question.READ: {
        **_ROUTE,
        **_CONTENT,
        "given": f"req.fhdr(x-model),bytes(0,{HEADER_BYTES})",
        "seen": "req.body_len",
        "head": "var(txn.pm_head)",
        "tail": "var(txn.pm_tail)",
    },
    Question.CHANGE: {**_ROUTE, "body": f"req.body,bytes(0,{CHANGE_BYTES})"},
}
"""Messages that are answered within PROCESSING_S: their arguments, and the sample of HAProxy's that fills each."""

LATER: Mapping[Question, Mapping[Argument, str]] = {
    Question.INSPECT: {**_ROUTE, **_CONTENT, "body": "req.body"},
    Question.HOLD: {"id": "unique-id", "process": "var(proc.pm_process)"},
}
"""The same of those whose answers take as long as they take."""

TRACE: Mapping[Argument, str] = {"trace": "req.fhdr(traceparent),bytes(0,100)"}
"""What all of them but `hold` have besides, where decisions are traced: it costs nothing elsewhere."""

QUESTIONS = frozenset(Question)

Variable = Literal["action", "server", "model", "status", "reason", "message", "error_type", "retry_after", "repeat"]
VARIABLES: tuple[Variable, ...] = get_args(Variable)
"""Variables of an answer; HAProxy has them as `txn.pm.NAME`."""

ERROR = "error"
"""HAProxy's own, beside those: what went wrong with a question (SPOE.txt, `set-on-error`), as a number."""
TOO_LATE = "1"
"""Not answered within PROCESSING_S."""
GIVEN_UP = ("5", "4")
"""HAProxy gave the question up itself, because the client had left: up to 3.0, and since 3.1."""

HOLD_MS = "hold_ms"
"""How long a request was held."""

FALLBACK = "fallback"
"""Reason of requests that HAProxy decided alone."""
LEFT = "left"
"""Reason of requests whose client left while the agent was asked."""
UNREAD = "unread"
"""Reason of requests turned away because the agent gave no answer to a whole body."""

UNLOAD = "unload"
"""Reason of requests that have a model unloaded."""

DOOR_SERVER = "agent:1"
"""What HAProxy calls the agent where it sends it requests for lists. No instance may have a colon in its name."""
CHANGES_SERVER = "agent:2"
"""The same where several model stores are to be changed."""

NOBODY = "-"
"""Stands among the tried ones for a pass in which no instance was named."""

Field = Literal[
    "time", "id", "request_id", "caller", "method", "path", "server", "reason", "status", "bytes",
    "queue_ms", "first_byte_ms", "data_ms", "termination", "retries", "process", "spoe_error", "at",
]  # fmt: skip
"""Keys of the log's line that are read; it has more, for people."""

LINE: Mapping[str, str] = {
    "time": "%Ts.%ms",
    "id": '"%ID"',
    "request_id": '"%[var(txn.pm_request_id)]"',
    "client": '"%ci"',
    "caller": '"%[var(txn.pm_caller),json(utf8s)]"',
    "method": '"%HM"',
    "path": '"%[var(txn.pm_path),bytes(0,500),json(utf8s)]"',
    "model": '"%[var(txn.pm_model),bytes(0,500),json(utf8s)]"',
    "server": '"%s"',
    "reason": '"%[var(txn.pm.reason),json(utf8s)]"',
    "status": "%ST",
    "bytes": "%B",
    "hold_ms": f'"%[var(txn.pm.{HOLD_MS},0)]"',
    "queue_ms": "%Tw",
    "connect_ms": "%Tc",
    "first_byte_ms": "%Tr",
    "data_ms": "%Td",
    "active_ms": "%Ta",
    "termination": '"%ts"',
    "retries": '"%rc"',
    "process": '"%[var(proc.pm_process)]"',
    "spoe_error": f'"%[var(txn.pm.{ERROR})]"',
    "at": '"%[var(txn.pm_at)]"',
}
"""The log's line for a finished request, one JSON object: each key with HAProxy's format for its value."""


def line(log_caller: LogCaller) -> Mapping[str, str]:
    """Return the log's line with as much of whose request it is as the fleet file says."""
    if log_caller == "name":
        return LINE
    caller = "-" if log_caller == "none" else "%[var(txn.pm_caller_hash)]"
    return {**LINE, "client": '"-"', "caller": f'"{caller}"'}


APPLY_ID = "pointsman-apply"
"""X-Request-Id of the requests by which `pointsman apply` sees that HAProxy asks."""

APPLY_PATH = "/api/version"
"""Their path: the agent answers it for the whole fleet."""

UNSET = "-"
"""What HAProxy writes there for a variable that is not set."""

PROCESSING_S = 4.0
"""`timeout processing`: so long HAProxy waits for an answer. What it is busy with meanwhile counts: in a crowd of large
bodies a second or two."""

CONNECT_S = 5.0
"""`timeout connect` to instances; the addon for mitmproxy gives them as long."""

HOLD_GRACE_S = 15.0
"""How much longer HAProxy waits for an answer than a request is held: there may be a body to read first."""


@dataclass(frozen=True, slots=True)
class CheckTimes:
    """Times of HAProxy's health check of a server (configuration.txt 5.2). One answer is enough to be up (`rise 1`)."""

    inter_s: float
    """Between two checks."""
    fastinter_s: float
    """After one that failed."""
    downinter_s: float
    """While it is down."""
    fall: int = 2
    """So many must fail in a row until it is down."""


HELLO = encode_haproxy_hello(Hello(16_380, healthcheck=True))
HELLO_BACK = string("version") + value("2.0")
"""What HAProxy's check of the agent says, and what must stand in the answer (`option spop-check`)."""

AGENT_CHECK = CheckTimes(inter_s=0.5, fastinter_s=0.1, downinter_s=0.25)
"""Whether the agent is there."""

INSTANCE_CHECK = CheckTimes(inter_s=2.0, fastinter_s=0.5, downinter_s=0.25)
"""Whether an instance answers `GET /`. One that comes back is asked so often that HAProxy knows before the agent, which
asks for lists and an answer first: what the agent sends to one that HAProxy still takes to be down finds nobody.
"""

LIMIT_INTER_S = 0.5
"""`agent-inter`: between two questions after an instance's limit (agent-check)."""

BEAT_S = LIMIT_INTER_S / 2
"""Limits are followed, and the guard told what HAProxy is told, so often: before HAProxy asks again."""

TOLD_S = 4 * LIMIT_INTER_S
"""Within this HAProxy has asked about every instance, if it is there at all."""

GONE_S = 4 * AGENT_CHECK.inter_s
"""No check of the agent for so long: there is no HAProxy."""
