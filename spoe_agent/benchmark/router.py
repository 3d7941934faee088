"""What every routing policy of the benchmark is: asked per request, told what happened.

Must not live here: any policy.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from spoe_agent.benchmark.front import Front
from spoe_agent.benchmark.requests import Record, Request
from spoe_agent.simulator import Model
from spoe_agent.simulator.work import LoadedModel


class Wait(Enum):
    """The request is not assigned to a server yet."""

    BACKEND = "backend"
    """HAProxy keeps it in the backend's queue, for the first server that has room."""
    ROUTER = "router"
    """The router keeps it, and says later where it goes (`Router.grants`)."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """The request is answered with an error."""

    status: int


Verdict = int | Wait | Refusal
"""A server's position, or what happens instead."""


class Router:
    """A policy. Only `route` must be written; the rest is for those who want to know."""

    poll_interval_s: float | None = None
    """How often each instance's `/api/ps` is read for the policy; None: never."""

    def route(self, request: Request, front: Front, now_s: float) -> Verdict:
        """Decide where a request goes."""
        raise NotImplementedError

    def unloads(self, record: Record) -> Iterable[Model]:
        """Return the models that are to be unloaded where this request goes, just before it gets there."""
        return ()

    def polled(self, server: int, loaded: list[LoadedModel], now_s: float) -> None:
        """Take a reading of `/api/ps`."""

    def ended(self, record: Record, front: Front, now_s: float) -> None:
        """A request ended in whatever way, refused ones aside: HAProxy's log line."""

    def grants(self, front: Front, now_s: float) -> Iterable[tuple[int, Verdict]]:
        """Return the kept requests, by id, that are decided now. Asked after everything that happens while any is."""
        return ()
