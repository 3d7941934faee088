"""What makes an instance slower than was learned: GPUs held down, and models that spilled to the CPU."""

from __future__ import annotations

from typing import NamedTuple

from spoe_agent.routing import estimates
from spoe_agent.routing.demand import Demand, Site
from spoe_agent.routing.estimates import GIB
from spoe_agent.routing.snapshot import NO_GPUS
from spoe_agent.routing.warmth import room_bytes

HELD_DOWN = 1.5
"""Heat and power brakes halve the clock at worst; decoding is bound by memory, which they touch less."""

CPU = 10.0
"""A layer on the CPU runs at its memory's bandwidth: some 80 GB/s against 0.8 to 3 TB/s."""


class Slowness(NamedTuple):
    """How many times longer a request takes, and why."""

    factor: float = 1.0
    why: str = ""


USUAL = Slowness()


def slowness(demand: Demand, site: Site) -> Slowness:
    """Return how much slower than usual the instance is for the model."""
    gpus, here = demand.snapshot.gpu(site.spec.name), site.state.loaded.get(demand.model)
    if gpus is NO_GPUS and (here is None or here.vram_bytes >= here.size_bytes):
        return USUAL
    held = gpus.doubt.slow
    part, why = _on_cpu(demand, site)
    if not held and not part:
        return USUAL
    factor = (HELD_DOWN if held else 1.0) * (1.0 + part * (CPU - 1.0))
    return Slowness(factor, "; ".join(filter(None, (held, why))))


def _on_cpu(demand: Demand, site: Site) -> tuple[float, str]:
    """Return which part of the model is on the CPU, or would be, as other programs have taken the memory."""
    here = site.state.loaded.get(demand.model)
    if here is not None:
        part = here.spilled_bytes / max(1, here.size_bytes)
        return part, f"{part:.0%} of it is on the CPU" if part else ""
    foreign = demand.snapshot.gpu(site.spec.name).foreign_bytes
    room = room_bytes(demand, site) if foreign else None
    needed = estimates.vram_bytes(demand.model, demand.rule, demand.weights_bytes, site.spec, site.state)
    if room is None or not foreign or needed <= room:
        return 0.0, ""
    part = 1.0 - room / needed
    return part, f"{part:.0%} of it would be on the CPU: other programs hold {foreign / GIB:.1f} GiB"
