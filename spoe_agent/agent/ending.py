"""How a request ended, in the words of HAProxy's log line; a front end without HAProxy says it in the same."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from spoe_agent.routing.surface import Kind

STREAMED_S = 0.005
"""An answer that comes all at once, `stream: false`, has its first byte with its last: it tells nothing of loads."""


class Left(Enum):
    """How far a request was when its client left."""

    BEFORE = "before"
    """The instance did not have it yet."""
    UNANSWERED = "unanswered"
    """The first token had not come."""
    ANSWERED = "answered"
    """In the middle of the answer."""


@dataclass(frozen=True, slots=True)
class Ending:
    """How a request ended, as HAProxy saw it."""

    first_byte_s: float
    """From the connection to the instance until its headers; Ollama sends them with the first token."""
    total_s: float
    """From the connection to the instance until the last byte."""
    is_whole: bool
    """Status 200, and both sides were content (termination state `--`)."""
    left: Left | None = None
    """When its client left; None: it stayed until the end."""
    is_rescued: bool = False
    """As good as whole, after another instance had failed it: its times are not one instance's."""


@dataclass(frozen=True, slots=True)
class Line:
    """What a finished request's line says."""

    request_id: str
    server: str
    ending: Ending
    status: int = 200
    termination: str = "--"
    """HAProxy's two letters (configuration.txt 8.5): who ended it, and in which phase."""
    size_bytes: int = 0
    """Sent to the client, headers included."""
    is_redispatched: bool = False
    """The instance it was meant for did not take it, and another did (`server`). The times are not that one's alone."""
    process: str = ""
    """The HAProxy process that had it; "" when it gave no name."""
    begun_at_s: float = 0.0
    """When it came, in seconds since 1970."""
    fell_back: bool = False
    """HAProxy decided alone, because no answer came to its question; or could not ask all it wanted."""
    spoe_error: str = ""
    """HAProxy's number for what went wrong with a question (SPOE.txt); "" when nothing did."""
    kind: Kind = Kind.LIST
    """What the request was for."""
    caller: str = ""
    """Whose it was; "" when the front end does not say."""
    name: str = ""
    """What the client calls it (X-Request-Id); "" when the front end does not say."""
    queue_s: float = 0.0
    """How long it waited for a connection of its instance, before the times of its ending."""
