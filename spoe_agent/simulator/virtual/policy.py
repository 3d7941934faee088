"""What every routing policy of the benchmark is: asked per request, told what happened."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum

from spoe_agent.simulator import Model
from spoe_agent.simulator.virtual.front import Front
from spoe_agent.simulator.virtual.requests import Request, RequestOutcome
from spoe_agent.simulator.work import RunningModel


class Wait(Enum):
    """The request is not assigned to a server yet."""

    BACKEND = "backend"
    """HAProxy keeps it in the backend's queue, for the first server that has room."""
    POLICY = "policy"
    """The policy keeps it, and says later where it goes (`RoutingPolicy.grants`)."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """The request is answered with an error."""

    status: int


@dataclass(frozen=True, slots=True)
class Probe:
    """A request of one token that the policy sends to a server itself."""

    server: int
    model: Model
    num_ctx: int | None
    """None: the instance's own."""
    deadline_s: float
    """So long without an answer, and it has failed."""


@dataclass(frozen=True, slots=True)
class Touch:
    """A request without a prompt: the model stays loaded for another keep_alive."""

    server: int
    model: Model
    num_ctx: int | None


Assignment = int | Wait | Refusal
"""A server's position, or what happens instead."""


class RoutingPolicy:
    """A policy. Only `route` must be written; the rest is for those who want to know."""

    poll_interval_s: float | None = None
    """How often each instance's `/api/ps` is read for the policy; None: never."""

    preload_keep_alive_s: float | None = math.inf
    """How long `preloads` stay without a request; None: as long as the instance keeps any."""

    def route(self, request: Request, front: Front, now_s: float) -> Assignment:
        """Decide where a request goes."""
        raise NotImplementedError

    def preloads(self) -> Sequence[Sequence[Model]]:
        """Return the models of each server that are loaded before the first request, in that order."""
        return ()

    def cached(self) -> Iterable[Model]:
        """Return the models whose files were read before the first request."""
        return ()

    def unloads(self, record: RequestOutcome) -> Iterable[Model]:
        """Return the models that are to be unloaded where this request goes, just before it gets there."""
        return ()

    def polled(self, server: int, loaded: list[RunningModel], now_s: float) -> None:
        """Take a reading of `/api/ps`."""

    def unreachable(self, server: int, now_s: float) -> None:
        """Nobody listens at a server whose `/api/ps` was to be read."""

    def again(self, request: Request, front: Front, now_s: float) -> Assignment:
        """Decide where a request goes whose server did not take the connection, or went down before it was sent there
        (`option redispatch 1`): another choice of the same rule. Servers that cannot be chosen are not in the front's.
        """
        return self.route(request, front, now_s)

    def probes(self, now_s: float) -> Iterable[Probe]:
        """Return the probes to be sent now. Asked after each reading."""
        return ()

    def touches(self, now_s: float) -> Iterable[Touch]:
        """Return the models to be kept loaded. Asked after each reading."""
        return ()

    def probed(self, server: int, is_answered: bool, now_s: float) -> None:
        """A probe was answered, or not in time."""

    def ended(self, record: RequestOutcome, front: Front, now_s: float) -> None:
        """A request ended in whatever way, refused ones aside: HAProxy's log line."""

    def grants(self, front: Front, now_s: float) -> Iterable[tuple[int, Assignment]]:
        """Return the kept requests, by id, that are decided now. Asked after everything that happens while any is."""
        return ()
