"""The fleet file: the one source for agent, addon, HAProxy and service files.

`load` reads it and refuses it with everything that is wrong; `specs` makes routing's view of it.
"""

from spoe_agent.fleet.load import admin_address, find, load, loads
from spoe_agent.fleet.problems import FleetError, Problem
from spoe_agent.fleet.resolved import Fleet, Instance
from spoe_agent.fleet.schema import (
    GpuEntry,
    Listeners,
    Policies,
    PollPolicy,
    json_schema,
)
from spoe_agent.fleet.schema_models import ModelEntry
from spoe_agent.fleet.schema_ollama import OllamaSettings
from spoe_agent.fleet.schema_watch import HealthPolicy
from spoe_agent.fleet.specs import specs
from spoe_agent.fleet.units import Listen

__all__ = [
    "Fleet",
    "FleetError",
    "GpuEntry",
    "HealthPolicy",
    "Instance",
    "Listen",
    "Listeners",
    "ModelEntry",
    "OllamaSettings",
    "Policies",
    "PollPolicy",
    "Problem",
    "admin_address",
    "find",
    "json_schema",
    "load",
    "loads",
    "specs",
]
