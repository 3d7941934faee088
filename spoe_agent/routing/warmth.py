"""How warm an instance is for a model, and what would have to go for it.

Lives here: tiers, memory, victims. Must not live here: seconds (cost), who may serve (eligibility).
"""

from __future__ import annotations

from typing import NamedTuple

from spoe_agent.routing import estimates
from spoe_agent.routing.choice import EVICT, LOADED, LOADING, RELOAD, ROOM, Tier
from spoe_agent.routing.demand import Demand, Site
from spoe_agent.routing.snapshot import NO_GPUS

FIT_FRACTION = 0.8
"""Part of the free memory that a model may take beside others."""


class Standing(NamedTuple):
    """How warm an instance is for the model, and what must go for it."""

    tier: Tier
    gone: tuple[str, ...] = ()
    """Idle ones first, and of those the ones least missed."""
    regret_s: float = 0.0
    """What their going costs."""


_LOADED, _LOADING, _RELOAD, _ROOM = (Standing(tier) for tier in (LOADED, LOADING, RELOAD, ROOM))


def stand(demand: Demand, site: Site) -> Standing:
    """Return how warm the instance is for the model."""
    if demand.model in site.activity.loading:
        return _LOADING
    if demand.model in site.state.loaded:
        return _RELOAD if _other_context(demand, site) else _LOADED
    return _beside(demand, site, residents(demand, site))


def slots(demand: Demand, site: Site) -> int:
    """Return how many requests of the model the instance runs at a time."""
    return demand.rule.num_parallel or site.spec.num_parallel


def has_slot(demand: Demand, site: Site, standing: Standing) -> bool:
    """Tell whether the request could run there at once, or as soon as the model is loaded.

    Never where a busy model would have to go: Ollama drains it while new requests for it still come in, which can
    wedge its scheduler for all models that are not loaded (ollama#17408).
    """
    if site.connections >= site.spec.max_connections:
        return False
    if standing.tier is EVICT:
        # Idle ones go first: if any is busy, the last one is.
        return site.busy(standing.gone[-1]) < 1
    if standing.tier is RELOAD:
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
    loaded, loading = site.state.loaded, site.activity.loading
    names = [*loaded, *[name for name in loading if name not in loaded]] if loading else loaded
    return [name for name in names if name != demand.model]


def _beside(demand: Demand, site: Site, others: list[str]) -> Standing:
    """Return whether the model has room beside others, or which of them must go before it can load.

    Idle ones first, and of those the ones least missed per byte. They are unloaded by the agent's own request
    (keep_alive 0) just before the load: Ollama, left to itself, takes the first by the path of its blob
    (server/sched.go findRunnerToUnload), whatever that is worth.
    """
    if not others:
        return _ROOM
    used = {name: _used(demand, site, name) for name in others}
    room = room_bytes(demand, site)
    free = None if room is None else room - sum(used.values())
    needed = _needed(demand, site, demand.model)
    if _has_room(site, needed, free, len(others)):
        return _ROOM
    regrets_s = {name: regret_s(demand, site, name) for name in others}
    # Regret per byte that is freed (Landlord, Young 1998: credit by size and cost).
    ranked = sorted([(site.busy(name) >= 1, regrets_s[name] / (used[name] or 1), name) for name in others])
    gone: list[str] = []
    while not _has_room(site, needed, free, len(others) - len(gone)):
        gone.append(ranked[len(gone)][2])
        free = None if free is None else free + used[gone[-1]]
    return Standing(EVICT, tuple(gone), sum([regrets_s[name] for name in gone]))


def _has_room(site: Site, needed: int, free: int | None, others: int) -> bool:
    """Tell whether a model can load beside so many others, which leave so much memory free (None: not known).

    Beside others Ollama wants a fifth of the free memory to stay free (server/sched.go:547); alone, a model is always
    tried.
    """
    if not others:
        return True
    return others < site.spec.max_loaded_models and (free is None or needed <= FIT_FRACTION * free)


def room_bytes(demand: Demand, site: Site) -> int | None:
    """Return what the instance's models can have of its GPU group: the fleet file's word or the group's memory, less
    what other programs hold. None: not known.
    """
    gpus = demand.snapshot.gpu(site.spec.name)
    if gpus is NO_GPUS:
        return site.spec.vram_bytes
    known = [size for size in (site.spec.vram_bytes, gpus.total_bytes) if size is not None]
    return max(0, min(known) - (gpus.foreign_bytes or 0)) if known else None


def regret_s(demand: Demand, site: Site, model: str) -> float:
    """Return what a victim's going costs: its reload, by the chance that it is wanted again, shared with the other
    instances that have it.
    """
    return demand.models[model].regret * demand.load_of(model, site.spec.name)


def _needed(demand: Demand, site: Site, model: str) -> int:
    about = demand.models[model]
    return estimates.vram_bytes(model, about.rule, about.weights_bytes, site.spec, site.state)


def _used(demand: Demand, site: Site, model: str) -> int:
    """Return what a resident takes of the GPUs: as `/api/ps` says (less than its size when part is on the CPU)."""
    here = site.state.loaded.get(model)
    return here.vram_bytes if here is not None else _needed(demand, site, model)
