"""How much slower than usual an instance is for a model: its GPUs are held down, or part of the model is on the CPU."""

from __future__ import annotations

from typing import NamedTuple

from spoe_agent.routing.demand import Demand, Site
from spoe_agent.routing.estimates import GIB
from spoe_agent.routing.snapshot import NO_GPUS
from spoe_agent.routing.warmth import Crowd, Standing

HELD_DOWN = 1.5
"""Heat and power brakes halve the clock at worst; decoding is bound by memory, which they touch less."""

CPU = 10.0
"""A layer on the CPU runs at its memory's bandwidth: some 80 GB/s against 0.8 to 3 TB/s."""


class Slowness(NamedTuple):
    """How many times longer a request takes, and why."""

    factor: float = 1.0
    why: str = ""


USUAL = Slowness()


def slowness(demand: Demand, site: Site, standing: Standing | Crowd) -> Slowness:
    """Return how much slower than usual the instance is for the model, loaded or yet to load alike."""
    gpus, here = site.gpus, site.state.loaded.get(demand.model)
    if gpus is NO_GPUS and not standing.spill and (here is None or here.vram_bytes >= here.size_bytes):
        return USUAL
    held = gpus.doubt.slow
    part, would_be = (
        (standing.spill, "would be") if here is None else (here.spilled_bytes / max(1, here.size_bytes), "is")
    )
    if not held and not part:
        return USUAL
    factor = (HELD_DOWN if held else 1.0) * (1.0 + part * (CPU - 1.0))
    foreign = gpus.foreign_bytes if here is None else None
    others = f": other programs hold {foreign / GIB:.1f} GiB" if foreign else ""
    why = f"{part:.0%} of it {would_be} on the CPU{others}" if part else ""
    return Slowness(factor, "; ".join(filter(None, (held, why))))


def unslowed_s(demand: Demand, judged: list[tuple[Site, Slowness]]) -> float:
    """Return the seconds that a request takes where nothing is slow.

    The usual time is of the instances that ran the model, slow ones among them: it holds at least the slowness that
    all of these have.
    """
    known = demand.snapshot.learned.service_s
    ran = [slow.factor for site, slow in judged if (demand.model, site.spec.name) in known]
    return demand.models[demand.model].service_s / min(ran, default=1.0)
