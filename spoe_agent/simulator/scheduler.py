"""One Ollama process on virtual time: the scheduler of server/sched.go, v0.30 and later.

The caller owns the clock: it passes ``now_s``, which never goes back, and asks ``next_event_at`` when to call
``advance``. Deterministic: no wall clock, no I/O, and chance only from the profile's seed.

Here: the face of the core and the order of things in time. The rules are in loader.py (requests whose model is not
loaded), service.py (requests on runners), residency.py (memory) and runner.py (speeds).

Simplified against Ollama: while a runner is being stopped, Ollama holds a lock that delays requests for the
other loaded models too; here only requests for the stopped model wait.
"""

from __future__ import annotations

import math

from spoe_agent.simulator.host import Host
from spoe_agent.simulator.journal import Counters, Journal
from spoe_agent.simulator.loader import Loader, LoaderFaults
from spoe_agent.simulator.profile import InstanceProfile
from spoe_agent.simulator.residency import Residency
from spoe_agent.simulator.runner import Job, Phase
from spoe_agent.simulator.service import RunnerService
from spoe_agent.simulator.work import (
    QUEUE_FULL,
    Cancelled,
    Event,
    Finished,
    Rejected,
    RunningModel,
    Task,
    UnloadReason,
    Work,
)


class Scheduler:
    """One simulated Ollama process. Times are seconds on the caller's clock."""

    def __init__(self, profile: InstanceProfile, host: Host | None = None) -> None:
        """Start empty, on a machine of its own if none is given."""
        self.profile = profile
        self._journal = Journal()
        self._residency = Residency(profile, self._journal)
        self._service = RunnerService(self._residency, self._journal)
        self._loader = Loader(profile, host or Host(), self._residency, self._service, self._journal)
        self._now_s = -math.inf

    @property
    def counters(self) -> Counters:
        """Totals since the start."""
        return self._journal.counters

    def submit(self, work: Work, now_s: float) -> None:
        """Take a request. What follows from it, a refusal included, comes out of ``advance``."""
        self._catch_up(now_s)
        job = Job(work, now_s)
        if work.kind is Task.UNLOAD:
            self._journal.add(Finished(now_s, work.id, work.kind, job.durations(now_s)))
            self._service.unload_when_idle(work, now_s)
            return
        runner = self._residency.usable(work)
        if runner is None and self._loader.full():
            self.counters.rejected += 1
            self._journal.add(Rejected(now_s, work.id, 503, QUEUE_FULL))
            return
        jobs = self._service.jobs
        jobs[work.id] = job
        self.counters.max_in_flight = max(self.counters.max_in_flight, len(jobs))
        if runner is not None:
            self._service.attach(job, runner, now_s)
        else:
            self._loader.add(job, now_s)

    def cancel(self, work_id: int, now_s: float) -> bool:
        """The client of a request left: free its place. False if the request has ended already."""
        self._catch_up(now_s)
        job = self._service.jobs.pop(work_id, None)
        if job is None:
            return False
        self.counters.cancelled += 1
        self._journal.add(Cancelled(now_s, work_id))
        was, job.phase = job.phase, Phase.ENDED
        if was is Phase.PENDING:
            self._loader.cancel(job, now_s)
        else:
            self._service.leave(job, was, now_s)
        return True

    def next_event_at(self) -> float | None:
        """When something happens next if nobody calls ``submit`` or ``cancel``; None if nothing will."""
        at_s = min(self._service.next_at_s(), self._residency.next_at_s())
        return None if at_s == math.inf else at_s

    def advance(self, now_s: float) -> list[Event]:
        """Let time pass up to ``now_s`` and return all that happened since the last call, in order."""
        self._catch_up(now_s)
        return self._journal.take()

    def tokens_done(self, work_id: int, now_s: float) -> int:
        """Output tokens that a request has at ``now_s``; 0 before the first and for requests that ended."""
        self._catch_up(now_s)
        runner = self._service.producing(work_id, now_s)
        return 0 if runner is None else runner.tokens_done(self._service.jobs[work_id])

    def token_interval_s(self, work_id: int, now_s: float) -> float:
        """Time between two tokens of a request at the present load; infinity when it produces none."""
        self._catch_up(now_s)
        runner = self._service.producing(work_id, now_s)
        return math.inf if runner is None else runner.token_interval_s()

    def ps(self, now_s: float) -> list[RunningModel]:
        """The ready models, as /api/ps lists them."""
        self._catch_up(now_s)
        return self._residency.listing(now_s)

    def free_vram_bytes(self) -> int:
        """VRAM that neither models nor another program hold; negative if they hold more than there is."""
        return self._residency.free_bytes()

    def in_flight(self) -> int:
        """Requests that have not ended, waiting ones included."""
        return len(self._service.jobs)

    def queued(self) -> int:
        """Requests in the pending queue, cancelled ones that still take a place included."""
        return self._loader.queued()

    def set_faults(self, faults: LoaderFaults, now_s: float) -> None:
        """Make loading go wrong from now on, or heal it."""
        self._catch_up(now_s)
        self._loader.set_faults(faults, now_s)

    def kill_runners(self, name: str | None, now_s: float) -> None:
        """The processes of a model's runner, or of all, die."""
        self._catch_up(now_s)
        for runner in self._residency.loaded.values():
            if name in (None, runner.model.name):
                self._service.kill(runner, now_s)

    def _catch_up(self, now_s: float) -> None:
        if now_s < self._now_s:
            raise ValueError(f"time went back from {self._now_s} to {now_s}")
        while (at_s := self.next_event_at()) is not None and at_s <= now_s:
            self._now_s = max(at_s, self._now_s)
            self._step(self._now_s)
        self._now_s = now_s

    def _step(self, at_s: float) -> None:
        """Let the one next thing happen. The order within an instant is fixed: tokens, load, memory, expiry."""
        residency = self._residency
        if self._service.step(at_s):
            return
        if residency.loading is not None and residency.loading.deadline_s <= at_s:
            self._loader.finish_load(at_s)
        elif residency.leaving is not None and residency.leaving.deadline_s <= at_s:
            self._loader.memory_recovered(at_s)
        else:
            expired = next(r for r in residency.loaded.values() if r.expire_at_s <= at_s)
            residency.unload(expired, at_s, UnloadReason.EXPIRED)
