"""From the fleet file to what routing knows of the fleet."""

from __future__ import annotations

import math

from spoe_agent.fleet.resolved import Fleet, Instance
from spoe_agent.fleet.schema import ModelEntry
from spoe_agent.routing.specs import FleetSpec, InstanceSpec, ModelRule, Policy


def specs(fleet: Fleet) -> FleetSpec:
    """Return routing's view of the fleet: instances and rules in file order, policy."""
    return FleetSpec(
        instances=tuple(_instance(instance) for instance in fleet.instances),
        rules=tuple(_rule(entry) for entry in fleet.models),
        policy=_policy(fleet),
    )


def _instance(instance: Instance) -> InstanceSpec:
    return InstanceSpec(
        name=instance.name,
        max_connections=instance.max_connections,
        num_parallel=instance.num_parallel,
        max_loaded_models=instance.max_loaded_models,
        vram_bytes=instance.vram_bytes,
        context_length=instance.ollama.context_length,
        store=instance.store,
        tag=instance.tag,
    )


def _rule(entry: ModelEntry) -> ModelRule:
    return ModelRule(
        match=entry.match,
        instances=entry.instances,
        num_parallel=entry.num_parallel,
        vram_bytes=None if entry.vram is None else int(entry.vram),
        size_bytes=None if entry.size is None else int(entry.size),
        max_concurrent=entry.max_concurrent,
        priority=entry.priority,
    )


def _policy(fleet: Fleet) -> Policy:
    policies = fleet.policies
    return Policy(
        max_age_s=policies.poll.max_age,
        retry_after_s=math.ceil(policies.retry_after),  # Retry-After has whole seconds (RFC 9110 section 10.2.3)
        max_inspected_bytes=int(policies.max_inspected_body),
        hold_s=policies.hold_timeout,
        caller_weights={entry.caller: entry.weight for entry in fleet.callers},
    )
