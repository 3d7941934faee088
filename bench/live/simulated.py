"""The discrete-event runs that belong to a live run: the same schedule, fleet and arms."""

from __future__ import annotations

from dataclasses import replace

from bench.live.agreement import Simulated
from bench.policies.arms import ARMS, OURS
from bench.policies.cells import replay
from bench.policies.workloads import Workload
from spoe_agent.simulator.virtual.fleet import FleetPlan
from spoe_agent.simulator.virtual.pointsman import PointsmanPolicy, Variant

HASH_SALTS = 8
"""Where HAProxy's hash puts a model is luck, and two models on one server cost much: so many placements."""


def simulate(arm: str, plan: FleetPlan, work: Workload, time_scale: float) -> Simulated:
    """Run one arm. The agent's clock is as slow, against the fleet's, as in the live run."""
    policy = ARMS[arm]
    if arm == OURS:
        slow = replace(
            policy, policy=lambda given: PointsmanPolicy.of(given.fleet, given.models, Variant(time_scale=time_scale))
        )
        return Simulated([replay(slow, plan, work, 0)], replay(policy, plan, work, 0))
    salts = HASH_SALTS if arm == "bounded_hash" else 1
    return Simulated([replay(policy, plan, work, salt) for salt in range(salts)])
