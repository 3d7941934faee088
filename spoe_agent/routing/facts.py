"""What is known of one request when it must be routed.

Lives here: the request's facts as frozen data, and the counts HAProxy sends along with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Literal, NamedTuple

from spoe_agent.routing.change import Change
from spoe_agent.routing.names import canonical
from spoe_agent.routing.rights import EVERYTHING, Rights
from spoe_agent.routing.surface import Dialect, Kind
from spoe_agent.routing.wishes import NO_WISHES, Wishes
from spoe_agent.routing.words import USUAL, Words

MAX_ECHO = 200
"""Characters of a caller's own text that an error repeats."""

LogCaller = Literal["name", "hash", "none"]
"""How much logs say of whose request it is."""


class RequestProblem(StrEnum):
    """Why a request that needs a model shows none."""

    UNREADABLE = "unreadable"
    """The body is whole but not JSON, or has no usable `model`."""
    TOO_LARGE = "too_large"
    """The body goes on beyond the inspected size, and `model` was not in the part that was seen."""
    BAD_NAME = "bad_name"
    """`model` is there, but no valid name; or it is not there."""
    BAD_HEADER = "bad_header"
    """A header of ours cannot be read."""
    NAMELESS = "nameless"
    """It is not there, on a path where Ollama looks for a model of no name."""


class InstanceLoad(NamedTuple):
    """HAProxy's own live counts for one server, as of this very request. A NamedTuple, because one is made, and
    compared with the one before it, for every instance on every request.
    """

    connections: int
    """Requests being served (`srv_conn`)."""
    queued: int
    """Requests waiting in the server's own queue (`srv_queue`)."""
    is_up: bool
    """HAProxy's health check (`srv_is_up`)."""
    tag: str = ""
    """Stands for the address that HAProxy has it at; "" when the front end does not tell."""

    def is_of(self, tag: str) -> bool:
        """Tell whether HAProxy has it at the address of this tag, as far as it tells."""
        return self.tag in ("", tag)


@dataclass(frozen=True, slots=True)
class RequestFacts:
    """One request, as the decision sees it."""

    request_id: str
    """Unique; also breaks ties, so that equals are spread."""
    kind: Kind
    dialect: Dialect
    model: str | None = None
    """Canonical key (`names.canonical`), or None for requests without a model."""
    asked: str = ""
    """The model as the caller wrote it: errors echo that, as Ollama's do."""
    problem: RequestProblem | None = None
    detail: str = ""
    """For a problem: what exactly is wrong, fit for the caller's eyes."""
    loads: Mapping[str, InstanceLoad] = field(default_factory=dict)
    """HAProxy's counts by instance name; empty when the front end has none."""
    servers: Mapping[str, InstanceLoad] = field(default_factory=dict)
    """What HAProxy's own configuration has, by name: others it cannot send the request to. Empty: all of the fleet's.
    Who is held keeps these, while the counts in `loads` grow old."""
    caller: str = ""
    """Whose request it is: held requests are shared out fairly between callers."""
    body_bytes: int = 0
    """Size of the body, which stands for the length of the prompt."""
    num_ctx: int | None = None
    """`options.num_ctx`: another context than the loaded one's makes Ollama reload the model."""
    runner_options: str = ""
    """The other options that a runner is started with, as one text: others than the loaded one's do the same."""
    only_loads: bool = False
    """It has no prompt: its end tells how long a load took, and never how long an answer."""
    embeds: bool = False
    """It wants embeddings: Ollama runs one such request of a model at a time (server/sched.go load)."""
    prefix: str = ""
    """Hash of the conversation's beginning; "" when it has none."""
    words: Words = USUAL
    """What callers of this path are told when no model can be served."""
    process: str = ""
    """The HAProxy process that asks, whose counts `loads` are; "" when the front end is the only one there is."""
    change: Change | None = None
    """Of a request that changes a model store: how."""
    wishes: Wishes = NO_WISHES
    rights: Rights = EVERYTHING
    tried: tuple[str, ...] = ()
    """What became of it before: an instance that did not take it, or "" for an answer that did not arrive. Not empty:
    the front end asks again."""

    trace: str = ""
    """The client's `traceparent` (W3C Trace Context); "" when it has none, or nobody wants to know."""

    namesake: str = ""
    """The name that routing has for the model, if that is another: Ollama serves copies by the same runner."""

    @property
    def runner(self) -> str | None:
        """The canonical key by which routing knows what Ollama loads; rules go by `model`."""
        return self.namesake or self.model

    @property
    def refusing(self) -> tuple[str, ...]:
        """Instances that did not take it."""
        return tuple(name for name in self.tried if name)

    def naming(self, name: str) -> RequestFacts:
        """Return these facts with the model that the caller wrote, or with what is wrong with that name."""
        if not name.strip():
            if self.words.nameless:
                return self.without_model(RequestProblem.NAMELESS, self.words.nameless.format(name[:MAX_ECHO]))
            return self.without_model(RequestProblem.BAD_NAME, "model is required")
        try:
            key = canonical(name)
        except ValueError:
            return self.without_model(RequestProblem.BAD_NAME, "invalid model name")
        # Written out, not dataclasses.replace: this is on every request's path, and four times as fast.
        return RequestFacts(
            self.request_id,
            self.kind,
            self.dialect,
            key,
            name[:MAX_ECHO],
            loads=self.loads,
            servers=self.servers,
            caller=self.caller,
            body_bytes=self.body_bytes,
            num_ctx=self.num_ctx,
            runner_options=self.runner_options,
            only_loads=self.only_loads,
            embeds=self.embeds,
            prefix=self.prefix,
            words=self.words,
            process=self.process,
            wishes=self.wishes,
            rights=self.rights,
            tried=self.tried,
            trace=self.trace,
        )

    def wishing(self, wishes: Wishes) -> RequestFacts:
        """Return these facts with what the request's own headers wish."""
        return self if wishes is NO_WISHES else replace(self, wishes=wishes)

    def tracing(self, trace: str) -> RequestFacts:
        """Return these facts as a part of the client's trace."""
        return replace(self, trace=trace) if trace else self

    def without_model(self, problem: RequestProblem, detail: str = "") -> RequestFacts:
        """Return these facts with the reason why no model is known."""
        return replace(self, problem=problem, detail=detail)
