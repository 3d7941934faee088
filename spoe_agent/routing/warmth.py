"""How warm an instance is for a model, and what would have to go for it.

Lives here: tiers, memory, victims. Must not live here: seconds (cost), who may serve (eligibility).
"""

from __future__ import annotations

from spoe_agent.routing import estimates
from spoe_agent.routing.choice import Tier
from spoe_agent.routing.demand import Demand, Site


def tier(demand: Demand, site: Site) -> Tier:
    """Return how warm the instance is for the model."""
    if demand.model in site.activity.loading:
        return Tier.LOADING
    if demand.model in site.state.loaded:
        return Tier.RELOAD if _other_context(demand, site) else Tier.LOADED
    return Tier.ROOM if victims(demand, site) is None else Tier.EVICT


def slots(demand: Demand, site: Site) -> int:
    """Return how many requests of the model the instance runs at a time."""
    return demand.rule.num_parallel or site.spec.num_parallel


def has_slot(demand: Demand, site: Site, warmth: Tier, gone: tuple[str, ...]) -> bool:
    """Tell whether the request could run there at once, or as soon as the model is loaded.

    Never where a busy model would have to go: Ollama drains it while new requests for it still come in, which can
    wedge its scheduler for all models that are not loaded (ollama#17408).
    """
    if site.connections >= site.spec.max_connections:
        return False
    if warmth is Tier.EVICT:
        return not any(site.busy(name) >= 1 for name in gone)
    if warmth is Tier.RELOAD:
        return site.busy(demand.model) < 1
    return site.busy(demand.model) + 1 <= slots(demand, site)


def _other_context(demand: Demand, site: Site) -> bool:
    """needsReload (server/sched.go): another num_ctx than the runner's. What a request does not ask for is the
    instance's own setting; a runner may have less than that when the model was trained for less.
    """
    has = site.state.loaded[demand.model].context_length
    asked = demand.facts.num_ctx
    if not has or (asked is None and site.spec.context_length is None):
        return False
    return has != asked if asked is not None else has > (site.spec.context_length or 0)


def residents(demand: Demand, site: Site) -> list[str]:
    """Return the other models that take, or are about to take, memory on the instance."""
    names = dict.fromkeys([*site.state.loaded, *site.activity.loading])
    names.pop(demand.model, None)
    return list(names)


def victims(demand: Demand, site: Site) -> list[str] | None:
    """Return the models that must go before ours can load, in Ollama's order; None when there is room.

    Idle ones first, by the path of the blob (server/sched.go findRunnerToUnload, with equal keep_alive).
    """
    others = residents(demand, site)
    missing = _missing_bytes(demand, site, others)
    too_many = len(others) + 1 - site.spec.max_loaded_models
    if not others or (missing <= 0 and too_many <= 0):
        return None
    chosen: list[str] = []
    for name in sorted(others, key=lambda name: (site.busy(name) >= 1, _path(site, name), name)):
        if missing <= 0 and too_many <= 0:
            break
        chosen.append(name)
        missing -= _used(demand, site, name)
        too_many -= 1
    return chosen


def _path(site: Site, model: str) -> str:
    here = site.state.loaded.get(model)
    return here.path if here is not None else ""


def _missing_bytes(demand: Demand, site: Site, others: list[str]) -> int:
    room = site.spec.vram_bytes
    if room is None:
        return 0
    used = sum(_used(demand, site, name) for name in others)
    return used + _needed(demand, site, demand.model) - room


def _needed(demand: Demand, site: Site, model: str) -> int:
    return estimates.vram_bytes(model, demand.fleet.rule(model), demand.weights_of(model), site.spec, site.state)


def _used(demand: Demand, site: Site, model: str) -> int:
    """Return what a resident takes of the GPUs: as `/api/ps` says (less than its size when part is on the CPU)."""
    here = site.state.loaded.get(model)
    return here.vram_bytes if here is not None else _needed(demand, site, model)
