"""What serving a request on one instance costs: predicted seconds to the first token, and the price to others.

Lives here: one pure function per term. Must not live here: who may serve (eligibility), who is best (choose).
"""

from __future__ import annotations

from spoe_agent.routing import estimates
from spoe_agent.routing.choice import FREE, Cost, Tier
from spoe_agent.routing.demand import Demand, Site

LOAD_PRICE = 1.0
"""A second of loading costs the others on the instance as much as it costs the request that waits for it. So a new
replica must save twice its load, and a burst joins a load under way instead of starting one on every instance."""

SHARE_PER_REQUEST = 0.15
"""Each request beside ours slows a decode step by this part (llama.cpp's batching, k = 0.15)."""


def tier(demand: Demand, site: Site) -> Tier:
    """Return how warm the instance is for the model."""
    if demand.model in site.activity.loading:
        return Tier.LOADING
    if demand.model in site.state.loaded:
        return Tier.LOADED
    return Tier.ROOM if _missing_bytes(demand, site) is None else Tier.EVICT


def cost(demand: Demand, site: Site, warmth: Tier) -> Cost:
    """Return the predicted cost of serving the model here, given how warm the instance is."""
    if warmth is Tier.LOADED:
        stale_s = _doubt(demand, site)
        if not site.connections and not stale_s:
            return FREE
        return Cost(wait_s=_wait(demand, site), load_s=stale_s, share_s=_share(demand, site))
    left_s = _loads_s(demand, site)
    all_s = left_s.get(demand.model, demand.load_s + max(left_s.values(), default=0.0))
    load_s = min(demand.load_s, all_s)
    return Cost(
        wait_s=_wait(demand, site),
        load_s=load_s,
        behind_s=all_s - load_s,
        price_s=_price(demand, site, warmth),
        share_s=_share(demand, site),
    )


def _wait(demand: Demand, site: Site) -> float:
    """Requests of this model beyond its slots, and connections beyond the instance's limit: a service time each.

    Connections that the board does not know (from before a restart) are spread over the loaded models.
    """
    unaccounted = max(0, site.connections - site.granted)
    busy = site.activity.in_flight.get(demand.model, 0) + unaccounted / max(1, len(site.state.loaded))
    slots = demand.rule.num_parallel or site.spec.num_parallel
    limit = site.spec.max_connections
    rounds = max(0.0, busy - slots + 1) / slots + max(0, site.connections - limit + 1) / limit
    return rounds * demand.service_s


def _share(demand: Demand, site: Site) -> float:
    return SHARE_PER_REQUEST * demand.service_s * site.connections


def _doubt(demand: Demand, site: Site) -> float:
    """An old reading of `/api/ps`: the model is as likely gone since as not."""
    snapshot = demand.snapshot
    age_s = snapshot.at_s - (site.state.loaded_at_s or 0.0)
    return demand.load_s / 2 if age_s > demand.fleet.policy.max_age_s else 0.0


def _loads_s(demand: Demand, site: Site) -> dict[str, float]:
    """Return the seconds until each load under way is done. Ollama loads one model at a time, in the order asked."""
    done_at_s = float("-inf")
    left: dict[str, float] = {}
    for model, since_s in sorted(site.activity.loading.items(), key=lambda item: item[1]):
        done_at_s = max(done_at_s, since_s) + estimates.load_s(_weights(demand, model))
        left[model] = max(0.0, done_at_s - demand.snapshot.at_s)
    return left


def _weights(demand: Demand, model: str) -> int:
    return estimates.weights_bytes(model, demand.fleet.rule(model), demand.snapshot)


def _residents(demand: Demand, site: Site) -> list[str]:
    """Models other than ours that take, or are about to take, memory on the instance."""
    names = dict.fromkeys([*site.state.loaded, *site.activity.loading])
    names.pop(demand.model, None)
    return list(names)


def _vram(demand: Demand, site: Site, model: str) -> int:
    rule = demand.fleet.rule(model)
    return estimates.vram_bytes(model, rule, _weights(demand, model), site.spec, site.state)


def _used(demand: Demand, site: Site, model: str) -> int:
    """Return what a resident takes of the GPUs: as `/api/ps` says (less than its size when part is on the CPU)."""
    here = site.state.loaded.get(model)
    return here.vram_bytes if here is not None else _vram(demand, site, model)


def _missing_bytes(demand: Demand, site: Site) -> int | None:
    """Return the bytes to be freed before the model can load (0: one model too many); None: there is room."""
    residents = _residents(demand, site)
    if not residents:
        return None
    room = site.spec.vram_bytes
    if room is not None:
        used = sum(_used(demand, site, name) for name in residents)
        missing = used + _vram(demand, site, demand.model) - room
        if missing > 0:
            return missing
    return 0 if len(residents) >= site.spec.max_loaded_models else None


def _price(demand: Demand, site: Site, warmth: Tier) -> float:
    if warmth is Tier.LOADING:
        return 0.0
    return LOAD_PRICE * demand.load_s + (_evict(demand, site) if warmth is Tier.EVICT else 0.0)


def _evict(demand: Demand, site: Site) -> float:
    """Unload, wait for a busy victim to finish, and somebody's later reload.

    Ollama's order of victims (keep_alive, then blob path; server/sched.go) cannot be seen from outside: the mean of
    the residents stands for each victim, and idle ones go first.
    """
    residents = _residents(demand, site)
    mean_weights = sum(_weights(demand, name) for name in residents) // len(residents)
    mean_vram = max(1, sum(_used(demand, site, name) for name in residents) // len(residents))
    missing = _missing_bytes(demand, site) or 0
    victims = min(len(residents), max(1, -(-missing // mean_vram)))
    idle = sum(1 for name in residents if not site.activity.in_flight.get(name))
    drain_s = 0.0 if victims <= idle else estimates.service_s(mean_weights)
    return victims * (estimates.UNLOAD_S + estimates.load_s(mean_weights)) + drain_s
