"""How runners that compute at the same time divide the GPU group.

llama-server processes do not know of each other. While they decode, the driver lets their steps take turns: each waits
for one of every other runner, so that a small model falls to the pace of a large one (measured: 323 and 216 tokens per
second alone, 117 and 110 together). Prefills, which are no steps, share equally. It holds for a group of several GPUs
too, where Ollama splits large models over all of them.
"""

from __future__ import annotations

import math

from spoe_agent.simulator.runner import Runner


class ComputeShare:
    """The runners that have work in their slots."""

    def __init__(self, turn_s: float) -> None:
        self._turn_s = turn_s
        self.busy: list[Runner] = []

    def slots_changed(self, runner: Runner, now_s: float) -> None:
        """Recompute speeds after ``runner``'s slots changed; its ``progress`` was called before the change."""
        is_busy = runner.active > 0
        if is_busy == (runner in self.busy):
            self._retime(runner, now_s)
            return
        if is_busy:
            self.busy.append(runner)
        else:
            self.busy.remove(runner)
            runner.retime(now_s, 1, 1.0)
        for other in self.busy:
            other.progress(now_s)
            self._retime(other, now_s)

    def _retime(self, runner: Runner, now_s: float) -> None:
        own_s = runner.pace.step_s
        others_s = sum(other.pace.gpu_step_s + self._turn_s for other in self.busy if other is not runner)
        runner.retime(now_s, len(self.busy), (own_s + others_s) / own_s)

    def next_at_s(self) -> float:
        """When the next slot reaches its target; infinity if none computes."""
        return min((runner.next_at_s for runner in self.busy), default=math.inf)

    def due(self, at_s: float) -> Runner | None:
        """A runner that has a slot due at ``at_s``, in the order in which they became busy."""
        return next((runner for runner in self.busy if runner.next_at_s <= at_s), None)
