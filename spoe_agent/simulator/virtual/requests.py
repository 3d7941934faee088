"""One request before, and one after: what is sent, and what became of it."""

from __future__ import annotations

from dataclasses import dataclass

from spoe_agent.simulator.work import Task, Work

SERVED = 200
CLIENT_LEFT = 499
"""nginx's status for a client that closed: no fault of the fleet's."""
BROKEN = 502
"""What HAProxy answers when a server breaks off before its answer; when it has begun, the client sees it cut."""
TIMED_OUT = 504


@dataclass(frozen=True, slots=True)
class Request:
    """One request of a workload, with its times alone on the fastest GPU of the fleet that holds its model."""

    at_s: float
    work: Work
    prefill_s: float
    """Of the whole prompt."""
    fresh_prefill_s: float
    """Of the tokens that no cache can have."""
    decode_s: float
    """From the first token to the last."""
    patience_s: float | None = None
    """The client leaves then, if the answer is not complete."""
    past: int | None = None
    """The server that its client asks by itself, past front and policy, which hear nothing of it."""
    after: int | None = None
    """Its user asks it only when the request of this id has ended (a closed loop); then `at_s` is of no meaning, ..."""
    think_s: float = 0.0
    """... but this is: from that end until it is asked."""

    @property
    def solo_s(self) -> float:
        """The whole request, alone, nothing cached."""
        return self.prefill_s + self.decode_s


@dataclass(slots=True, eq=False)
class RequestOutcome:
    """What became of one request. Times are seconds on the simulation's clock."""

    request: Request
    status: int = 0
    """HTTP status; 0 while it runs."""
    server: int | None = None
    """Position of the instance in the fleet; None: none ever got it."""
    sent_at_s: float | None = None
    """When it was let through to that; None: never."""
    first_at_s: float | None = None
    ended_at_s: float = 0.0
    load_wait_s: float = 0.0
    """Until a runner was obtained, queueing behind other loads included: above 0 for cold requests."""

    @property
    def model(self) -> str:
        """Name of the model."""
        return self.request.work.model.name

    @property
    def served(self) -> bool:
        """The client got its whole answer."""
        return self.status == SERVED

    @property
    def failed(self) -> bool:
        """The client got an error, or nothing in time."""
        return self.status not in (SERVED, CLIENT_LEFT)

    @property
    def ttft_s(self) -> float:
        """From sending to the first token (for embeddings, the answer). Only for served requests."""
        return (self.ended_at_s if self.first_at_s is None else self.first_at_s) - self.request.at_s

    @property
    def e2e_s(self) -> float:
        """From sending to the end."""
        return self.ended_at_s - self.request.at_s

    @property
    def tpot_s(self) -> float | None:
        """Mean time between tokens; None with fewer than two."""
        steps = self.request.work.output_tokens - 1
        if self.request.work.kind is not Task.GENERATE or steps < 1 or self.first_at_s is None:
            return None
        return (self.ended_at_s - self.first_at_s) / steps

    @property
    def slowdown(self) -> float:
        """Times longer than alone on a warm GPU."""
        return self.e2e_s / self.request.solo_s
