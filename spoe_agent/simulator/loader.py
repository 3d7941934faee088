"""The scheduling loop of Ollama (processPending, sched.go:225-365): the queue of requests whose model is not loaded.

One request is at the head, and its load or eviction blocks all others here; requests for loaded models do not pass
through.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

from spoe_agent.simulator.host import Host
from spoe_agent.simulator.journal import Journal
from spoe_agent.simulator.profile import InstanceProfile
from spoe_agent.simulator.residency import Residency
from spoe_agent.simulator.runner import Job, Phase, Runner
from spoe_agent.simulator.service import RunnerService
from spoe_agent.simulator.work import LoadAborted, LoadFinished, LoadStarted, UnloadReason


@dataclass(frozen=True, slots=True)
class LoaderFaults:
    """What can be made to go wrong with loading."""

    wedged: bool = False
    """No further load starts, as in the known scheduler wedge (ollama issue 17408); loaded models serve on."""
    stolen_bytes: int = 0
    """VRAM that another program takes."""
    spill: float = 0.0
    """Part of every new load that ends up outside VRAM, 0 to 1."""
    slowdown: float = 1.0
    """Loads take this many times longer."""


class Loader:
    """Loads models, one at a time, for the requests that wait for them."""

    def __init__(
        self, profile: InstanceProfile, host: Host, residency: Residency, service: RunnerService, journal: Journal
    ) -> None:
        self._profile = profile
        self._host = host
        self._residency = residency
        self._service = service
        self._journal = journal
        self._faults = LoaderFaults()
        self._pending: deque[Job] = deque()
        self._head: Job | None = None
        self._awaits_unload = False
        self._late_unloads = 0  # that ended during a load, when nobody waited for them

    def full(self) -> bool:
        """True when Ollama would answer 503. The head has left the queue and does not count."""
        return len(self._pending) >= self._profile.max_queue

    def queued(self) -> int:
        """Requests in the queue, cancelled ones that still take a place included."""
        return len(self._pending)

    def add(self, job: Job, now_s: float) -> None:
        """Queue a request whose model is not loaded."""
        self._pending.append(job)
        self.run(now_s)

    def cancel(self, job: Job, now_s: float) -> None:
        """The client of a queued request left.

        It keeps its place until the loop gets to it and skips it (sched.go:237-240), and an eviction made for it
        goes on; but a load that runs for it is thrown away, whoever else waits for that model (llama_server.go:1300).
        """
        runner = self._residency.loading
        if job is not self._head or runner is None:
            return
        self._head = self._residency.loading = None
        self._journal.counters.aborted_loads += 1
        self._journal.add(LoadAborted(now_s, job.work.id, runner.model))
        self._host.give_up_load(runner.model)
        self.run(now_s)

    def set_faults(self, faults: LoaderFaults, now_s: float) -> None:
        """Make loading go wrong from now on, or heal it."""
        self._faults = faults
        self._residency.stolen_bytes = faults.stolen_bytes
        self.run(now_s)

    def memory_recovered(self, at_s: float) -> None:
        """An unload is over: that wakes the loop, whichever runner it was; during a load, the next time it waits."""
        self._residency.recover(at_s)
        self._late_unloads += not self._awaits_unload and self._residency.loading is not None
        self._awaits_unload = False
        self.run(at_s)

    def finish_load(self, at_s: float) -> None:
        """The load is complete: the head gets its runner and the loop goes on."""
        job, runner = self._head, self._residency.loading
        assert job is not None and runner is not None
        self._head = self._residency.loading = None
        self._residency.loaded[runner.model.blob] = runner
        load_s = at_s - runner.load_started_at_s
        self._journal.counters.loaded(runner.model.name, load_s)
        self._journal.add(LoadFinished(at_s, job.work.id, runner.model, load_s))
        self._service.attach(job, runner, at_s)
        self.run(at_s)

    def run(self, now_s: float) -> None:
        """Go on with the queue as far as it goes without waiting."""
        while self._residency.loading is None and not self._awaits_unload and not self._faults.wedged:
            if self._head is None:
                if not self._pending:
                    return
                self._head = self._pending.popleft()
            if self._head.phase is Phase.ENDED:
                self._head = None
            else:
                self._schedule(self._head, now_s)

    def _schedule(self, job: Job, now_s: float) -> None:
        residency, work = self._residency, job.work
        runner = residency.usable(work)
        if runner is not None:
            self._head = None
            self._service.attach(job, runner, now_s)
            return
        outdated = residency.loaded.get(work.model.blob)
        if outdated is not None:
            self._mark(outdated, now_s, UnloadReason.RELOAD)
        elif len(residency.loaded) >= self._profile.loaded_limit():
            self._mark(residency.victim(), now_s, UnloadReason.EVICTED)
        elif (new := residency.make_runner(work, self._faults.spill)) is not None:
            self._start_load(job, new, now_s)
        else:
            self._mark(residency.victim(), now_s, UnloadReason.EVICTED)

    def _mark(self, runner: Runner, now_s: float, reason: UnloadReason) -> None:
        """Have a runner unloaded as soon as it is idle, and wait for an unload (sched.go:340-362)."""
        runner.expire_at_s = math.inf
        runner.keep_alive_s = 0.0
        runner.marked = reason
        # An unload of before that nobody waited for is taken for this one: the next victim may follow at once.
        self._awaits_unload = not self._late_unloads
        self._late_unloads = max(0, self._late_unloads - 1)
        if runner.refs == 0:
            self._residency.unload(runner, now_s, reason)

    def _start_load(self, job: Job, runner: Runner, now_s: float) -> None:
        load_s = self._host.begin_load(job.work.model, self._profile, now_s) * self._faults.slowdown
        if poll_s := self._profile.waits.ready_poll_s:
            load_s = math.ceil(load_s / poll_s) * poll_s
        runner.keep_alive_s = self._profile.keep_alive_s
        runner.load_started_at_s = now_s
        runner.deadline_s = now_s + self._residency.probe_s(now_s) + load_s
        self._residency.loading = runner
        self._journal.add(LoadStarted(now_s, job.work.id, job.work.model))
