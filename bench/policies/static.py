"""What placing models can reach at best: the whole trace is known, every copy is loaded before and never goes.

Feasible only where the catalogue fits the fleet; what finds no place is refused.
"""

from __future__ import annotations

from collections.abc import Sequence

from bench.policies.all_warm import AllWarm
from bench.policies.placement import ModelDemand, in_order, place
from spoe_agent.simulator import Model
from spoe_agent.simulator.virtual.fleet import FleetPlan
from spoe_agent.simulator.virtual.front import Front
from spoe_agent.simulator.virtual.policy import Assignment, Refusal
from spoe_agent.simulator.virtual.requests import Request


class Static(AllWarm):
    """Chooses among the copies of a model as `AllWarm` chooses among all instances, and knows as much."""

    def __init__(self, fleet: FleetPlan, models: Sequence[Model], requests: Sequence[Request]) -> None:
        super().__init__(fleet)
        demand = dict.fromkeys(models, ModelDemand(0.0, 0.0))
        for request in requests:
            before = demand[request.work.model]
            prefill_s, work_s = before.prefill_s + request.prefill_s, before.work_s + request.solo_s
            demand[request.work.model] = ModelDemand(prefill_s, work_s)
        self._places = place(fleet, demand)

    def preloads(self) -> Sequence[Sequence[Model]]:
        return [in_order(held, profile) for held, profile in zip(self._places, self._fleet.instances, strict=True)]

    def route(self, request: Request, front: Front, now_s: float) -> Assignment:
        return super().route(request, front, now_s) if self.able(request.work.model, front) else Refusal(503)

    def able(self, model: Model, front: Front) -> list[int]:
        return [server for server in front.servers if model in self._places[server]]
