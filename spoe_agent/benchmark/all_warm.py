"""The physical limit to draw beside every policy: no model ever has to load, and output lengths are known.

Not a bound by proof, but what remains when loading is free. Must not live here: bounds that are proven (bounds).
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, replace

from spoe_agent.benchmark.fleets import FleetPlan, fits
from spoe_agent.benchmark.front import Front
from spoe_agent.benchmark.requests import Record, Request
from spoe_agent.benchmark.router import Router, Verdict
from spoe_agent.simulator import InstanceProfile


def without_loading(profile: InstanceProfile) -> InstanceProfile:
    """Return the same GPU with endless memory, where a load takes no time."""
    return replace(
        profile,
        vram_bytes=10**15,
        max_loaded_models=10**6,
        keep_alive_s=math.inf,
        load_fixed_s=0.0,
        load_bytes_per_s=math.inf,
        vram_recovery_s=0.0,
    )


@dataclass(slots=True)
class _Job:
    model: str
    left_s: float
    """Solo seconds of work that remain."""


class AllWarm(Router):
    """Where this request and those already there finish soonest in sum, all lengths known."""

    def __init__(self, fleet: FleetPlan) -> None:
        self._fleet = fleet
        self._jobs: list[dict[int, _Job]] = [{} for _ in fleet.instances]
        self._synced_at_s = [0.0 for _ in fleet.instances]

    def route(self, request: Request, front: Front, now_s: float) -> Verdict:
        model = request.work.model
        able = [server for server in front.servers if fits(model, self._fleet.instances[server])]
        chosen = min(able, key=lambda server: (self._delay_s(server, request, now_s), front.inflight(server)))
        self._jobs[chosen][request.work.id] = _Job(model.name, request.solo_s)
        return chosen

    def ended(self, record: Record, front: Front, now_s: float) -> None:
        if record.server is not None:
            self._sync(record.server, now_s)
            self._jobs[record.server].pop(record.request.work.id, None)

    def _delay_s(self, server: int, request: Request, now_s: float) -> float:
        """Seconds that the request takes here, and that it adds to the others."""
        self._sync(server, now_s)
        name = request.work.model.name
        jobs = self._jobs[server].values()
        before = Counter(job.model for job in jobs)
        after = before + Counter([name])
        own_s = request.solo_s * self._stretch(server, name, after)
        others_s = sum(
            min(job.left_s, request.solo_s)
            * (self._stretch(server, job.model, after) - self._stretch(server, job.model, before))
            for job in jobs
        )
        return own_s + others_s

    def _stretch(self, server: int, model: str, jobs: Counter[str]) -> float:
        """Times slower than alone: models share the GPU, slots of a model share its batch, the rest waits."""
        profile = self._fleet.instances[server]
        batch = min(jobs[model], profile.num_parallel)
        waiting = max(1.0, jobs[model] / profile.num_parallel)
        return len(jobs) * (1 + profile.batch_slowdown * (batch - 1)) * waiting

    def _sync(self, server: int, now_s: float) -> None:
        elapsed_s = now_s - self._synced_at_s[server]
        self._synced_at_s[server] = now_s
        jobs = self._jobs[server].values()
        counts = Counter(job.model for job in jobs)
        for job in jobs:
            job.left_s = max(0.0, job.left_s - elapsed_s / self._stretch(server, job.model, counts))
