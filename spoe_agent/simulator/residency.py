"""Which runners hold the GPU group's memory: loaded, loading, or stopped while Ollama waits to see their memory free.

Here: memory accounting, unloading one after another, /api/ps and the order of victims.
"""

from __future__ import annotations

import math
from collections import deque
from random import Random

from spoe_agent.simulator.journal import Journal
from spoe_agent.simulator.memory import pace, place
from spoe_agent.simulator.profile import InstanceProfile
from spoe_agent.simulator.runner import Runner
from spoe_agent.simulator.work import RunningModel, UnloadReason, UnloadStarted, Work


class Residency:
    """The memory of one instance."""

    def __init__(self, profile: InstanceProfile, journal: Journal) -> None:
        self.profile = profile
        self._journal = journal
        self._chance = Random(profile.seed)
        self.loaded: dict[str, Runner] = {}
        """Ready runners by blob. A loading model is not among them, as since Ollama v0.30 (sched.go:718)."""
        self.loading: Runner | None = None
        self.leaving: Runner | None = None
        """The one stopped runner whose memory Ollama waits for; unloads queue behind it, for one goroutine does all."""
        self._to_leave: deque[tuple[Runner, UnloadReason]] = deque()
        self._stopped_at_s = -math.inf
        self.stolen_bytes = 0
        """Memory that another program holds."""

    def free_bytes(self) -> int:
        """VRAM that is free, as NVML tells; negative if another program took what models had."""
        running = [*self.loaded.values()] if self.loading is None else [*self.loaded.values(), self.loading]
        held = (runner.footprint.vram_bytes + self.profile.driver_bytes for runner in running if not runner.is_dead)
        return self.profile.vram_bytes - self.stolen_bytes - sum(held)

    def num_ctx(self, work: Work) -> int:
        """The context that a request gets: its own, the model's or the instance's, within what it was trained on."""
        model = work.model
        return min(work.num_ctx or model.num_ctx or self.profile.context_length, model.context_limit)

    def usable(self, work: Work) -> Runner | None:
        """The runner that can serve ``work`` as it is; None if there must be a load or a reload (needsReload)."""
        runner = self.loaded.get(work.model.blob)
        if runner is None or runner.is_dead:
            return None
        alike = runner.num_ctx == self.num_ctx(work) and runner.options == work.runner_options
        return runner if alike else None

    def make_runner(self, work: Work, spill: float) -> Runner | None:
        """A runner for ``work`` with its memory placed; None if something must be evicted first."""
        num_ctx = self.num_ctx(work)
        slots = work.model.slots(self.profile.num_parallel)
        needed_bytes, free_bytes = work.model.memory_bytes(num_ctx, slots), self.free_bytes()
        seen_bytes = self._seen_free_bytes() if self.loaded else None
        footprint = place(needed_bytes, seen_bytes, free_bytes, self.profile, spill)
        if footprint is None:
            return None
        speed = pace(self.profile, work.model, footprint)
        return Runner(work.model, num_ctx, slots, footprint, speed, work.runner_options, free_bytes)

    def victim(self) -> Runner:
        """The runner to evict: idle ones first, then the shortest keep_alive, then the blob's path.

        Not the least recently used: findRunnerToUnload (sched.go:1663-1693) knows no history.
        """
        return min(self.loaded.values(), key=lambda r: (r.refs > 0, r.keep_alive_s, r.model.blob))

    def unload(self, runner: Runner, now_s: float, reason: UnloadReason) -> None:
        """Stop an idle runner, as soon as the one before it is out."""
        runner.expire_at_s = math.inf
        if self.leaving is None:
            self._stop(runner, now_s, reason)
        elif all(other is not runner for other, _ in self._to_leave):
            runner.keep_alive_s, runner.marked = 0.0, reason
            self._to_leave.append((runner, reason))

    def recover(self, at_s: float) -> None:
        """The wait for a stopped runner's memory is over: the next one that shall leave, and is idle, is stopped."""
        self.leaving = None
        while self._to_leave and self.leaving is None:
            runner, reason = self._to_leave.popleft()
            if self.loaded.get(runner.model.blob) is runner and runner.refs == 0:
                self._stop(runner, at_s, reason)

    def probe_s(self, now_s: float) -> float:
        """How long a load waits for Ollama to look for its GPUs, with a process of its own when no runner can tell."""
        waits = self.profile.waits
        if self.loaded:
            return 0.0
        since_s = now_s - self._stopped_at_s
        return waits.emptied_s - since_s if since_s < waits.emptied_s else self._chance.uniform(*waits.probe_s)

    def next_at_s(self) -> float:
        """When the next load or recovery ends or an idle timer fires; infinity if none runs."""
        at_s = math.inf if self.loading is None else self.loading.deadline_s
        if self.leaving is not None:
            at_s = min(at_s, self.leaving.deadline_s)
        for runner in self.loaded.values():
            at_s = min(at_s, runner.expire_at_s)
        return at_s

    def listing(self, now_s: float) -> list[RunningModel]:
        """/api/ps: the one that stays longest first; a dead runner is there until somebody asks for it."""
        lines = [
            RunningModel(
                model=runner.model,
                size_bytes=runner.footprint.total_bytes,
                size_vram_bytes=runner.footprint.vram_bytes,
                num_ctx=runner.num_ctx,
                # sched.go:1775-1780: before the first request has ended there is no time yet, so one is made up.
                expires_at_s=now_s + runner.keep_alive_s if runner.expires_at_s is None else runner.expires_at_s,
            )
            for runner in self.loaded.values()
        ]
        return sorted(lines, key=lambda line: -line.expires_at_s)

    def _seen_free_bytes(self) -> int:
        """What Ollama takes for free beside loaded models: all but their sizes, or what one saw at its own load,
        whatever another program has taken since (updateFreeSpace, sched.go:1295). What just left to make room counts
        until it has been waited for.
        """
        used_bytes = sum(runner.footprint.vram_bytes for runner in self.loaded.values())
        if self.leaving is not None and self.leaving.marked in (UnloadReason.EVICTED, UnloadReason.RELOAD):
            used_bytes += self.leaving.footprint.vram_bytes
        then_free_bytes = next(iter(self.loaded.values())).free_before_bytes
        return min(then_free_bytes, self.profile.vram_bytes - used_bytes)

    def _stop(self, runner: Runner, now_s: float, reason: UnloadReason) -> None:
        """Kill a runner and wait for its memory, in vain while another one answers for it (sched.go:1441-1499)."""
        del self.loaded[runner.model.blob]
        self._journal.counters.unloaded(reason)
        self._journal.add(UnloadStarted(now_s, runner.model, reason))
        waits = self.profile.waits
        is_seen = not self.loaded or self._chance.random() >= waits.unseen_share
        runner.deadline_s = now_s + (self.profile.vram_recovery_s if is_seen else waits.unseen_recovery_s)
        runner.marked = reason
        self.leaving, self._stopped_at_s = runner, now_s
