"""Which runners hold the GPU group's memory: loaded, loading, or just stopped and not yet given back.

Here: memory accounting, unloading, /api/ps and the order of victims.
"""

from __future__ import annotations

import math

from spoe_agent.simulator.journal import Journal
from spoe_agent.simulator.memory import pace, place
from spoe_agent.simulator.profile import InstanceProfile
from spoe_agent.simulator.runner import Runner
from spoe_agent.simulator.work import LoadedModel, Unloading, UnloadReason, Work


class Residency:
    """The memory of one instance."""

    def __init__(self, profile: InstanceProfile, journal: Journal) -> None:
        self.profile = profile
        self._journal = journal
        self.loaded: dict[str, Runner] = {}
        """Ready runners by blob. A loading model is not among them, as since Ollama v0.30 (sched.go:718)."""
        self.loading: Runner | None = None
        self.leaving: list[Runner] = []
        self.stolen_bytes = 0
        """Memory that another program holds."""

    def free_bytes(self) -> int:
        """VRAM that a new model could use; negative if another program took what models had."""
        held = [*self.loaded.values(), *self.leaving]
        if self.loading is not None:
            held.append(self.loading)
        used_bytes = sum(runner.footprint.vram_bytes for runner in held)
        return self.profile.vram_bytes - self.stolen_bytes - used_bytes

    def num_ctx(self, work: Work) -> int:
        """The context that a request gets: its own or the instance's, within what the model was trained on."""
        return min(work.num_ctx or self.profile.context_length, work.model.context_limit)

    def usable(self, work: Work) -> Runner | None:
        """The runner that can serve ``work`` as it is; None if there must be a load or a reload (needsReload)."""
        runner = self.loaded.get(work.model.blob)
        return runner if runner is not None and runner.num_ctx == self.num_ctx(work) else None

    def make_runner(self, work: Work, spill: float) -> Runner | None:
        """A runner for ``work`` with its memory placed; None if something must be evicted first."""
        num_ctx = self.num_ctx(work)
        slots = work.model.slots(self.profile.num_parallel)
        needed_bytes = work.model.memory_bytes(num_ctx, slots)
        alone = not self.loaded and not self.leaving
        footprint = place(needed_bytes, self.free_bytes(), alone, self.profile, spill)
        if footprint is None:
            return None
        return Runner(work.model, num_ctx, slots, footprint, pace(self.profile, work.model, footprint))

    def victim(self) -> Runner:
        """The runner to evict: idle ones first, then the shortest keep_alive, then the blob's path.

        Not the least recently used: findRunnerToUnload (sched.go:1663-1693) knows no history.
        """
        return min(self.loaded.values(), key=lambda r: (r.refs > 0, r.keep_alive_s, r.model.blob))

    def unload(self, runner: Runner, now_s: float, reason: UnloadReason) -> None:
        """Stop an idle runner. Its memory is free only after the recovery time (sched.go:1441-1499)."""
        del self.loaded[runner.model.blob]
        runner.expire_at_s = math.inf
        self._journal.counters.unloaded(reason)
        self._journal.add(Unloading(now_s, runner.model, reason))
        self.give_back(runner, now_s)

    def give_back(self, runner: Runner, now_s: float) -> None:
        """Start the recovery of a stopped runner's memory."""
        runner.deadline_s = now_s + self.profile.vram_recovery_s
        self.leaving.append(runner)

    def recover(self, at_s: float) -> None:
        """Forget the runners whose memory is back."""
        self.leaving = [runner for runner in self.leaving if runner.deadline_s > at_s]

    def next_at_s(self) -> float:
        """When the next load or recovery ends or an idle timer fires; infinity if none runs."""
        at_s = math.inf if self.loading is None else self.loading.deadline_s
        for runner in self.leaving:
            at_s = min(at_s, runner.deadline_s)
        for runner in self.loaded.values():
            at_s = min(at_s, runner.expire_at_s)
        return at_s

    def listing(self, now_s: float) -> list[LoadedModel]:
        """/api/ps: the one that stays longest first."""
        lines = [
            LoadedModel(
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
