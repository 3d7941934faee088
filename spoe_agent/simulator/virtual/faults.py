"""What goes wrong with one instance of a fleet, again and again, and how it looks from outside.

Lives here: kinds, times, and a simulated instance that can be struck.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum

from spoe_agent.simulator import InstanceProfile, Scheduler
from spoe_agent.simulator.host import Host
from spoe_agent.simulator.loader import LoaderFaults
from spoe_agent.simulator.work import Event, RunningModel, Work

SLOWDOWN = 5.0


class Trouble(Enum):
    """What happens, and what ends it."""

    HANG = "hang"
    """No prompt gets on; lists and `/` answer as ever. In the end the process is replaced by a new one."""
    GONE = "gone"
    """The process is killed in the middle of its streams and nobody listens, until a new one is there."""
    SLOW = "slow"
    """Loads take five times as long."""


@dataclass(frozen=True, slots=True)
class PlannedFault:
    """Strikes `server` at `first_s`, and every `every_s` from then on, for `lasts_s`."""

    trouble: Trouble
    lasts_s: float
    server: int = 0
    first_s: float = 1200.0
    every_s: float = 1200.0


class VirtualInstance:
    """One simulated Ollama process after another at one address. Each new one is empty."""

    def __init__(self, profile: InstanceProfile, host: Host) -> None:
        self._profile, self._host = profile, host
        self._scheduler = Scheduler(profile, host)
        self._listing: list[RunningModel] | None = None
        self.is_open = True
        """Somebody listens."""

    @property
    def is_stuck(self) -> bool:
        """Prompts do not get on."""
        return self._listing is not None

    @property
    def next_at_s(self) -> float:
        """When something happens next; infinity if nothing will."""
        at_s = None if self.is_stuck else self._scheduler.next_event_at()
        return math.inf if at_s is None else at_s

    def strike(self, trouble: Trouble, now_s: float) -> None:
        """Let it happen."""
        if trouble is Trouble.HANG:
            self._listing = self._scheduler.ps(now_s)
        elif trouble is Trouble.GONE:
            self._scheduler, self.is_open = Scheduler(self._profile, self._host), False
        else:
            self._scheduler.set_faults(LoaderFaults(slowdown=SLOWDOWN), now_s)

    def heal(self, trouble: Trouble, now_s: float) -> None:
        """Let it end."""
        if trouble is Trouble.SLOW:
            self._scheduler.set_faults(LoaderFaults(), now_s)
            return
        self._scheduler, self._listing, self.is_open = Scheduler(self._profile, self._host), None, True

    def submit(self, work: Work, now_s: float) -> None:
        """Take a request. A stuck process takes it too, and never answers."""
        if not self.is_stuck:
            self._scheduler.submit(work, now_s)

    def cancel(self, work_id: int, now_s: float) -> None:
        """A client left."""
        if not self.is_stuck:
            self._scheduler.cancel(work_id, now_s)

    def advance(self, now_s: float) -> list[Event]:
        """Return what happened until now."""
        return [] if self.is_stuck else self._scheduler.advance(now_s)

    def ps(self, now_s: float) -> list[RunningModel] | None:
        """Return what `/api/ps` lists; None when nobody listens."""
        if not self.is_open:
            return None
        return self._scheduler.ps(now_s) if self._listing is None else self._listing
