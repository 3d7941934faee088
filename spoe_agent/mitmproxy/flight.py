"""A request from its headers to its end, as the front end remembers it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from spoe_agent.agent.ending import Ending
from spoe_agent.mitmproxy.router import LEFT, LEFT_WAITING, End, Passage
from spoe_agent.routing import Choice, RequestFacts


@dataclass(slots=True)
class Flight:
    """A request that the router knows, or knew until it failed. Times are monotonic seconds."""

    request: RequestFacts
    client_id: str
    shown_id: str
    """Its X-Request-Id, for client and instance."""
    origin: str = ""
    """Of a foreign page that may call: its browser must be told so."""
    search: asyncio.Task[Passage] | None = None
    choice: Choice | None = None
    sent_at_s: float | None = None
    """None as long as it goes to no instance."""
    first_byte_at_s: float | None = None
    is_over: bool = False

    def answered(self, status: int, now_s: float) -> End:
        """Return how it ended when the last byte of an answer was there. What no instance answered teaches nothing."""
        if self.sent_at_s is None or self.first_byte_at_s is None:
            return LEFT
        ending = Ending(self.first_byte_at_s - self.sent_at_s, now_s - self.sent_at_s, is_whole=status == 200)
        return End("--", status, ending)

    def left(self) -> End:
        """Return how it ended when the client left."""
        return LEFT_WAITING if self.sent_at_s is not None and self.first_byte_at_s is None else LEFT

    def broken(self) -> End:
        """Return how it ended when the instance hung up: before its answer, or in the middle of it."""
        if self.sent_at_s is None:
            return LEFT
        return End("SH", 502) if self.first_byte_at_s is None else End("SD", 200)
