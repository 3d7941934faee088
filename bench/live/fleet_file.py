"""The fleet file that the agent gets in a live run, its times as much shorter as the simulated fleet is faster.

What cannot be scaled: the agent's priors (a load at 3 GB/s, say), which what it learns replaces at the first sample
of a model on an instance; the five minutes over which it forgets arrivals; the quarter second between its looks at
held requests. The discrete-event run beside a live one has the agent's clock as slow (pointsman.Variant.time_scale),
so the two see the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from spoe_agent.simulator.virtual.fleet import FleetPlan
from spoe_agent.simulator.virtual.pointsman import USUAL
from spoe_agent.simulator.virtual.simulation import TIMEOUT_S

LEAST_TIMEOUT_S = 0.2
"""Timeouts of polls are not made shorter: they would catch the machine's own pauses, which do not scale."""

_POLL_S = {"interval": 1.0, "timeout": 2.0, "max_age": 10.0, "tags_interval": 10.0}
_HEALTH_S = {"stall": 10.0, "load_stall": 120.0, "probe_interval": 5.0, "probe_timeout": 10.0}
"""The fleet file's own defaults."""


def document(plan: FleetPlan, addresses: Sequence[str], time_scale: float) -> dict[str, Any]:
    """Return the fleet file of a fleet whose instances listen at these addresses (host:port)."""
    instances = [
        {
            "name": name,
            "url": f"http://{address}",
            "vram": profile.vram_bytes,
            "num_parallel": profile.num_parallel,
            "ollama": {"max_loaded_models": profile.loaded_limit(), "context_length": profile.context_length},
        }
        for name, address, profile in zip(plan.names(), addresses, plan.instances, strict=True)
    ]
    return {"instances": instances, "telemetry": {"local": False}, "policies": _policies(time_scale)}


def _policies(time_scale: float) -> dict[str, Any]:
    poll = _scaled(_POLL_S, time_scale)
    poll["timeout"] = max(LEAST_TIMEOUT_S, poll["timeout"])
    poll["max_age"] = max(poll["timeout"], poll["max_age"])
    whole = {"hold_timeout": USUAL.hold_s, "queue_timeout": TIMEOUT_S, "response_timeout": TIMEOUT_S}
    return {**_scaled(whole, time_scale), "poll": poll, "health": _scaled(_HEALTH_S, time_scale)}


def _scaled(times_s: dict[str, float], time_scale: float) -> dict[str, float]:
    return {name: round(max(0.001, time_s / time_scale), 3) for name, time_s in times_s.items()}
