"""The physical limit to draw beside every policy: no model ever has to load, and output lengths are known.

Not a bound by proof, but what remains when loading is free.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, replace

from spoe_agent.simulator import InstanceProfile, Model
from spoe_agent.simulator.profile import NO_WAITS
from spoe_agent.simulator.virtual.fleet import FleetPlan, fits
from spoe_agent.simulator.virtual.front import Front
from spoe_agent.simulator.virtual.policy import Assignment, RoutingPolicy
from spoe_agent.simulator.virtual.requests import Request, RequestOutcome


def without_loading(profile: InstanceProfile) -> InstanceProfile:
    """Return the same GPU with endless memory, where a load takes no time."""
    return replace(
        profile,
        vram_bytes=10**15,
        max_loaded_models=10**6,
        keep_alive_s=math.inf,
        load_fixed_s=0.0,
        load_bytes_per_s=math.inf,
        cold_bytes_per_s=math.inf,
        vram_recovery_s=0.0,
        waits=NO_WAITS,
    )


@dataclass(slots=True)
class _Job:
    model: str
    prefill_s: float
    """Solo seconds of work that remain before the first token, and after it."""
    decode_s: float

    @property
    def left_s(self) -> float:
        return self.prefill_s + self.decode_s

    def work(self, done_s: float) -> None:
        """Let solo seconds of work be done."""
        decoded_s = max(0.0, done_s - self.prefill_s)
        self.prefill_s = max(0.0, self.prefill_s - done_s)
        self.decode_s = max(0.0, self.decode_s - decoded_s)


class AllWarm(RoutingPolicy):
    """Where first token and end come soonest, of this request and of those already there, all lengths known."""

    def __init__(self, fleet: FleetPlan) -> None:
        self._fleet = fleet
        self._jobs: list[dict[int, _Job]] = [{} for _ in fleet.instances]
        self._synced_at_s = [0.0 for _ in fleet.instances]

    def route(self, request: Request, front: Front, now_s: float) -> Assignment:
        model = request.work.model
        for jobs in self._jobs:
            # It may come again: a connection failed.
            jobs.pop(request.work.id, None)
        job = _Job(model.name, request.prefill_s, request.decode_s)
        chosen = min(
            self.able(model, front), key=lambda server: (self._delay_s(server, job, now_s), front.inflight(server))
        )
        self._jobs[chosen][request.work.id] = job
        return chosen

    def able(self, model: Model, front: Front) -> list[int]:
        """Return the servers that may serve a model."""
        return [server for server in front.servers if fits(model, self._fleet.instances[server])]

    def ended(self, record: RequestOutcome, front: Front, now_s: float) -> None:
        if record.server is not None:
            self._sync(record.server, now_s)
            self._jobs[record.server].pop(record.request.work.id, None)

    def _delay_s(self, server: int, job: _Job, now_s: float) -> float:
        """Seconds until the first token and until the end, and what both add to the others."""
        self._sync(server, now_s)
        others = self._jobs[server].values()
        before = Counter(other.model for other in others)
        after = before + Counter([job.model])
        end_s = job.left_s * self._stretch(server, job.model, after)
        price_s = sum(
            min(other.left_s, job.left_s)
            * (self._stretch(server, other.model, after) - self._stretch(server, other.model, before))
            for other in others
        )
        return end_s + price_s + self._first_s(server, job, len(after))

    def _first_s(self, server: int, job: _Job, sharers: int) -> float:
        """Prefill is bound by compute: those of one model divide it, and decoding slots take their part."""
        others = self._jobs[server].values()
        prefilling = sum(other.prefill_s > 0 for other in others if other.model == job.model)
        decoding = sum(other.prefill_s <= 0 for other in others if other.model == job.model)
        share = 1 + prefilling + self._fleet.instances[server].batch_slowdown * decoding
        return job.prefill_s * sharers * share + sum(min(other.prefill_s, job.prefill_s) for other in others)

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
            job.work(elapsed_s / self._stretch(server, job.model, counts))
