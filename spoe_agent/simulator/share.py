"""How runners that compute at the same time divide the GPU group.

The rule is the simplest honest one: each computing runner gets an equal part of the speed of the whole group,
for llama-server processes do not know of each other and the driver time-slices them. It holds for a group of
several GPUs too, where Ollama splits large models over all of them.
"""

from __future__ import annotations

import math

from spoe_agent.simulator.runner import Runner


class ComputeShare:
    """The runners that have work in their slots."""

    def __init__(self) -> None:
        self.busy: list[Runner] = []

    def slots_changed(self, runner: Runner, now_s: float) -> None:
        """Recompute speeds after ``runner``'s slots changed; its ``progress`` was called before the change."""
        is_busy = runner.active > 0
        if is_busy == (runner in self.busy):
            runner.retime(now_s, len(self.busy))
            return
        if is_busy:
            self.busy.append(runner)
        else:
            self.busy.remove(runner)
            runner.retime(now_s, 1)
        for other in self.busy:
            other.progress(now_s)
            other.retime(now_s, len(self.busy))

    def next_at_s(self) -> float:
        """When the next slot reaches its target; infinity if none computes."""
        return min((runner.next_at_s for runner in self.busy), default=math.inf)

    def due(self, at_s: float) -> Runner | None:
        """A runner that has a slot due at ``at_s``, in the order in which they became busy."""
        return next((runner for runner in self.busy if runner.next_at_s <= at_s), None)
