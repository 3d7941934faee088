"""The decision, pure: which instance serves a request, and why.

Imports only itself and the standard library without I/O, clocks, randomness and logging (a test checks it).
"""

from spoe_agent.routing.choice import Action, Candidate, Choice, Cost, Exclusion, Reason, Tier
from spoe_agent.routing.choose import choose
from spoe_agent.routing.facts import InstanceLoad, RequestFacts, RequestProblem
from spoe_agent.routing.snapshot import Activity, Health, InstanceState, LoadedModel, Snapshot
from spoe_agent.routing.specs import FleetSpec, InstanceSpec, ModelRule, Policy
from spoe_agent.routing.surface import Dialect, Kind

__all__ = [
    "Action",
    "Activity",
    "Candidate",
    "Choice",
    "Cost",
    "Dialect",
    "Exclusion",
    "FleetSpec",
    "Health",
    "InstanceLoad",
    "InstanceSpec",
    "InstanceState",
    "Kind",
    "LoadedModel",
    "ModelRule",
    "Policy",
    "Reason",
    "RequestFacts",
    "RequestProblem",
    "Snapshot",
    "Tier",
    "choose",
]
