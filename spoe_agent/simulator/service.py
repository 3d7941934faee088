"""Requests on loaded runners: attaching, slots, finishing, and the keep_alive timer."""

from __future__ import annotations

import math

from spoe_agent.simulator.journal import Journal
from spoe_agent.simulator.residency import Residency
from spoe_agent.simulator.runner import Job, Phase, Runner
from spoe_agent.simulator.share import ComputeShare
from spoe_agent.simulator.work import RUNNER_STOPPED, Finished, FirstToken, Rejected, Task, UnloadReason, Work


class RunnerService:
    """Serves the requests that have a runner."""

    def __init__(self, residency: Residency, journal: Journal) -> None:
        self._residency = residency
        self._journal = journal
        self._share = ComputeShare(residency.profile.turn_s)
        self.jobs: dict[int, Job] = {}
        """All requests that have not ended, the loader's included."""

    def attach(self, job: Job, runner: Runner, now_s: float) -> None:
        """useLoadedRunner (sched.go:475-492): the request's keep_alive replaces the runner's, even a victim's.

        That is the known wedge: a victim that gets a long keep_alive while it drains is not unloaded when idle.
        """
        runner.refs += 1
        runner.expire_at_s = math.inf
        if job.work.keep_alive_s is not None:
            runner.keep_alive_s = job.work.keep_alive_s
        job.runner, job.ready_at_s, job.phase = runner, now_s, Phase.WAITING
        if job.work.kind is Task.PRELOAD:
            job.seated_at_s = job.first_at_s = now_s
            self._finish(job, now_s)
            self._release(runner, now_s)
            return
        runner.waiting.append(job)
        runner.progress(now_s)
        if runner.seat_waiting(now_s):
            self._share.slots_changed(runner, now_s)

    def leave(self, job: Job, was: Phase, now_s: float) -> None:
        """A request ends, in whatever way: its slot goes to the next one and its reference is dropped."""
        runner = job.runner
        assert runner is not None
        if was is Phase.ACTIVE:
            runner.progress(now_s)
            runner.free(job, now_s)
            runner.seat_waiting(now_s)
            self._share.slots_changed(runner, now_s)
        self._release(runner, now_s)

    def next_at_s(self) -> float:
        """When the next prefill or request ends; infinity if nothing computes."""
        return self._share.next_at_s()

    def step(self, at_s: float) -> bool:
        """Let one slot that is due at ``at_s`` reach its target; False if none is due."""
        runner = self._share.due(at_s)
        if runner is None:
            return False
        runner.progress(at_s)
        job, is_first, finished = runner.reach_target(at_s)
        if is_first and job.work.kind is Task.GENERATE:
            self._journal.add(FirstToken(at_s, job.work.id))
        if finished:
            self._finish(job, at_s)
            self.leave(job, Phase.ACTIVE, at_s)
        else:
            self._share.slots_changed(runner, at_s)
        return True

    def unload_when_idle(self, work: Work, now_s: float) -> None:
        """expireRunner (sched.go:1713-1731): requests in flight are served to their end."""
        runner = self._residency.loaded.get(work.model.blob)
        if runner is None:
            return
        runner.keep_alive_s, runner.expires_at_s, runner.expire_at_s = 0.0, now_s, math.inf
        runner.marked = UnloadReason.ASKED
        if runner.refs == 0:
            self._residency.unload(runner, now_s, UnloadReason.ASKED)

    def kill(self, runner: Runner, now_s: float) -> None:
        """The process of a runner dies: its requests fail, and Ollama does not notice before the next one comes."""
        runner.progress(now_s)
        for job in runner.jobs():
            if job.phase is Phase.ENDED:
                continue
            if job.phase is Phase.ACTIVE:
                runner.free(job, now_s)
            job.phase = Phase.ENDED
            del self.jobs[job.work.id]
            self._journal.add(Rejected(now_s, job.work.id, 500, RUNNER_STOPPED))
            self._release(runner, now_s)
        runner.waiting.clear()
        runner.is_dead = True
        self._share.slots_changed(runner, now_s)

    def producing(self, work_id: int, now_s: float) -> Runner | None:
        """The runner in which a request has a slot, brought up to ``now_s``."""
        job = self.jobs.get(work_id)
        if job is None or job.phase is not Phase.ACTIVE or job.runner is None:
            return None
        job.runner.progress(now_s)
        return job.runner

    def _finish(self, job: Job, now_s: float) -> None:
        job.phase = Phase.ENDED
        del self.jobs[job.work.id]
        self._journal.counters.served[job.work.model.name] += 1
        durations = job.durations(now_s)
        self._journal.add(Finished(now_s, job.work.id, job.work.kind, durations, job.cached_tokens))

    def _release(self, runner: Runner, now_s: float) -> None:
        """processCompleted (sched.go:385-411): the keep_alive timer starts when the last request ends."""
        runner.refs -= 1
        if runner.refs > 0:
            return
        if runner.keep_alive_s <= 0:
            self._residency.unload(runner, now_s, runner.marked or UnloadReason.EXPIRED)
        else:
            runner.expires_at_s = runner.expire_at_s = now_s + runner.keep_alive_s
