"""From the fleet file to what routing knows of the fleet."""

from __future__ import annotations

import math

from spoe_agent.fleet.resolved import Fleet, Instance
from spoe_agent.fleet.schema import Policies
from spoe_agent.fleet.schema_models import ModelEntry, Shape
from spoe_agent.routing.hold import LEAST_URGENT
from spoe_agent.routing.memory import ModelShape
from spoe_agent.routing.specs import FleetSpec, InstanceSpec, ModelRule, Policy

CACHE_ELEMENT_BYTES = {None: 2.0, "f16": 2.0, "q8_0": 34 / 32, "q4_0": 18 / 32}
"""By kv_cache_type. The quantized ones keep 32 numbers in a block, with a scale of two bytes (ggml-common.h)."""


INTERACTIVE_HOLD_S = 20.0
"""Somebody looks on: who has no slot by then is better told. A busy model gives way after 8 s, before that."""


def specs(fleet: Fleet) -> FleetSpec:
    """Return routing's view of the fleet: instances and rules in file order, policy."""
    return FleetSpec(
        instances=tuple(_instance(instance) for instance in fleet.instances),
        rules=tuple(_rule(entry, fleet.policies) for entry in fleet.models),
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
        cache_element_bytes=CACHE_ELEMENT_BYTES[instance.ollama.kv_cache_type],
        store=instance.store,
        says=instance.says,
        tag=instance.tag,
    )


def _rule(entry: ModelEntry, policies: Policies) -> ModelRule:
    usual = LEAST_URGENT if entry.latency == "batch" else 0
    return ModelRule(
        match=entry.match,
        instances=entry.instances,
        num_parallel=entry.num_parallel,
        vram_bytes=None if entry.vram is None else int(entry.vram),
        size_bytes=None if entry.size is None else int(entry.size),
        shape=None if entry.shape is None else model_shape(entry.shape),
        max_concurrent=entry.max_concurrent,
        priority=usual if entry.priority is None else entry.priority,
        hold_s=_hold_s(entry, policies),
        stays=None if entry.latency is None else entry.latency == "interactive",
    )


def _hold_s(entry: ModelEntry, policies: Policies) -> float | None:
    """Return how long the model's requests are held; None: as others, or nobody's are."""
    if entry.latency is None or not policies.hold_timeout:
        return None
    if entry.latency == "interactive":
        return min(INTERACTIVE_HOLD_S, policies.hold_timeout)
    return max(policies.queue_timeout, policies.hold_timeout)


def model_shape(shape: Shape) -> ModelShape:
    """Return what routing knows of a model's shape."""
    return ModelShape(
        token_bytes=int(shape.cache_per_token),
        windowed_bytes=int(shape.windowed_cache_per_token or 0),
        window=shape.window or 0,
        batch_bytes=int(shape.batch_per_token or 0),
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
