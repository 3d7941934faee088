"""Drives the scheduler core with real time and tells waiting handlers what happened.

The only place where the pure core meets asyncio.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from spoe_agent.simulator.clock import ScaledClock
from spoe_agent.simulator.journal import Counters
from spoe_agent.simulator.loader import LoaderFaults
from spoe_agent.simulator.scheduler import Scheduler
from spoe_agent.simulator.work import Finished, FirstToken, Rejected, RunningModel, Work


@dataclass(frozen=True, slots=True)
class EngineTicket:
    """A request in the engine. Cancelled requests never resolve: whoever cancels has stopped waiting."""

    work: Work
    first: asyncio.Future[FirstToken | Finished | Rejected]
    """Resolves when there is something to answer."""
    done: asyncio.Future[Finished | Rejected]


class Engine:
    """One scheduler in real time. Must be made and used inside one event loop."""

    def __init__(self, scheduler: Scheduler, clock: ScaledClock) -> None:
        self.clock = clock
        self._scheduler = scheduler
        self._loop = asyncio.get_running_loop()
        self._tickets: dict[int, EngineTicket] = {}
        self._timer: asyncio.TimerHandle | None = None

    @property
    def counters(self) -> Counters:
        """Totals since the start of the instance."""
        return self._scheduler.counters

    def submit(self, work: Work) -> EngineTicket:
        """Hand a request to the scheduler."""
        ticket = EngineTicket(work, self._loop.create_future(), self._loop.create_future())
        self._tickets[work.id] = ticket
        self._scheduler.submit(work, self.clock.now_s())
        self._pump()
        return ticket

    def cancel(self, ticket: EngineTicket) -> None:
        """The client left. Does nothing when the request has ended."""
        if self._tickets.pop(ticket.work.id, None) is not None:
            self._scheduler.cancel(ticket.work.id, self.clock.now_s())
            self._pump()

    def tokens_done(self, ticket: EngineTicket) -> int:
        """Output tokens that exist by now."""
        if ticket.done.done():
            return ticket.work.output_tokens
        return self._scheduler.tokens_done(ticket.work.id, self.clock.now_s())

    def token_interval_s(self, ticket: EngineTicket) -> float:
        """Real seconds between two tokens at the present load."""
        return self.clock.real_s(self._scheduler.token_interval_s(ticket.work.id, self.clock.now_s()))

    def ps(self) -> list[RunningModel]:
        """The ready models; their expiry is in virtual seconds."""
        return self._scheduler.ps(self.clock.now_s())

    def free_vram_bytes(self) -> int:
        """VRAM that nothing holds."""
        return self._scheduler.free_vram_bytes()

    def in_flight(self) -> int:
        """Requests that have not ended."""
        return self._scheduler.in_flight()

    def queued(self) -> int:
        """Requests that wait for a load."""
        return self._scheduler.queued()

    def set_faults(self, faults: LoaderFaults) -> None:
        """Make loading go wrong from now on, or heal it."""
        self._scheduler.set_faults(faults, self.clock.now_s())
        self._pump()

    def kill_runners(self, name: str | None) -> None:
        """The processes of a model's runner, or of all, die."""
        self._scheduler.kill_runners(name, self.clock.now_s())
        self._pump()

    def close(self) -> None:
        """Stop the timer. Nothing happens in this engine any more."""
        if self._timer is not None:
            self._timer.cancel()

    def _pump(self) -> None:
        """Bring the scheduler up to now, tell who waits, and sleep until the next event."""
        for event in self._scheduler.advance(self.clock.now_s()):
            if isinstance(event, FirstToken):
                self._resolve_first(event)
            elif isinstance(event, (Finished, Rejected)):
                self._resolve_first(event)
                ticket = self._tickets.pop(event.id, None)
                if ticket is not None:
                    ticket.done.set_result(event)
        self.close()
        at_s = self._scheduler.next_event_at()
        if at_s is not None:
            self._timer = self._loop.call_at(self.clock.loop_time_s(at_s), self._pump)

    def _resolve_first(self, event: FirstToken | Finished | Rejected) -> None:
        ticket = self._tickets.get(event.id)
        if ticket is not None and not ticket.first.done():
            ticket.first.set_result(event)
