"""What serving a request on one instance costs: predicted seconds to the first token, and the price to others.

Lives here: one pure function per term.
"""

from __future__ import annotations

from typing import NamedTuple

from spoe_agent.routing import estimates
from spoe_agent.routing.choice import FREE, LOADED, LOADING, RELOAD, ROOM, Cost, Tier
from spoe_agent.routing.demand import Demand, Site
from spoe_agent.routing.warmth import Standing, has_room_for_all

WARM = (LOADED, LOADING)
"""No load is to be paid for."""


class Pool(NamedTuple):
    """The instances where the model is warm, together."""

    copies: int
    slots: int
    least_busy: float
    """Mean number of requests in flight on the one that has the fewest."""


def predict(demand: Demand, site: Site, standing: Standing, has_slot: bool, warm: Pool) -> Cost:
    """Return the predicted cost of serving the model here.

    Args:
        standing: how warm the instance is, and what must go.
        has_slot: whether the request could run at once.
        warm: the instances where the model is warm; what waits is shared out between their slots.
    """
    tier = standing.tier
    is_behind = demand.snapshot.waiting > 0 and tier in WARM
    is_home = demand.snapshot.home == site.spec.name and has_slot and tier is LOADED
    saved_s = _prefix(demand, site) if is_home else 0.0
    is_sure = tier is LOADED and not _is_stale(demand, site)
    is_shared = demand.model in site.state.others
    if is_sure and has_slot and not site.beside and not is_behind:
        return Cost(prefix_s=saved_s) if saved_s else FREE
    service_s = demand.service_of(site.spec.name)
    load_s, behind_s = (0.0, 0.0) if is_sure else _load(demand, site, standing)
    # Others wait for the slots of the warm instances; a cold one is nobody's yet.
    wait_s = _wait(demand, site, tier, service_s, warm) if not has_slot or is_behind or is_shared else 0.0
    price_s = 0.0 if tier in WARM else _price(demand, site, standing, service_s, load_s, warm)
    share_s = demand.fleet.policy.weights.share * _share(demand, site, service_s) if site.beside else 0.0
    # By position: this is made for every instance, and so a third sooner.
    return Cost(wait_s, load_s, behind_s, price_s, share_s, 0.0, saved_s)


def _wait(demand: Demand, site: Site, tier: Tier, service_s: float, warm: Pool) -> float:
    """Until a slot is free, in service times of the model.

    Held requests before this one each take a slot of the pool. What is bound here already and has no slot waits
    inside Ollama, as it does behind others' requests; beyond the instance's connections, in the front end. A busy
    victim ends in about a service time.
    """
    rounds = max(0, site.connections - site.spec.max_connections + 1) / site.spec.max_connections
    if tier in WARM:
        here = site.slots(demand)
        theirs_s = site.state.others.get(demand.model)
        busy = site.busy(demand.model) + (theirs_s is not None)
        rounds += max(0.0, busy + 1 - here) / here + demand.snapshot.waiting / max(1, warm.slots)
        # A slot that others have is free when they are done.
        service_s = max(service_s, theirs_s or 0.0)
    else:
        rounds += 1
    return rounds * service_s


def _load(demand: Demand, site: Site, standing: Standing) -> tuple[float, float]:
    """Return seconds of loading the model (or what is left of it), and of what comes before.

    Ollama loads one model at a time, in the order asked (server/sched.go).
    """
    tier, whole_s = standing.tier, demand.load_of(demand.model, site.spec)
    if tier is LOADED:
        # An old reading: the model is as likely gone since as not.
        return whole_s / 2, 0.0
    if not site.activity.loading:
        return whole_s, _until_begun(site, standing)
    left_s = loads_left(demand, site)
    all_s = left_s[demand.model] if tier is LOADING else whole_s + max(left_s.values())
    return min(whole_s, all_s), max(0.0, all_s - whole_s)


def _until_begun(site: Site, standing: Standing) -> float:
    """Until Ollama begins a load where no other is under way. Of the models that must go it was asked to unload the
    first; for each further one, and for the model itself on a reload beside others, it waits.
    """
    gone, is_again = len(standing.gone), standing.tier is RELOAD
    waits_again = is_again and len(site.state.loaded) > gone + 1
    return estimates.UNLOAD_S * (max(0, gone - 1) + waits_again)


def _is_stale(demand: Demand, site: Site) -> bool:
    age_s = demand.snapshot.at_s - (site.state.loaded_at_s or 0.0)
    return age_s > demand.fleet.policy.max_age_s


def loads_left(demand: Demand, site: Site) -> dict[str, float]:
    """Return the seconds until each load under way is done."""
    done_at_s = float("-inf")
    left: dict[str, float] = {}
    for model, since_s in sorted(site.activity.loading.items(), key=lambda item: item[1]):
        done_at_s = max(done_at_s, since_s) + demand.load_of(model, site.spec)
        done_at_s = min(done_at_s, site.activity.answered.get(model, done_at_s))
        left[model] = max(0.0, done_at_s - demand.snapshot.at_s)
    return left


def _price(demand: Demand, site: Site, standing: Standing, service_s: float, load_s: float, warm: Pool) -> float:
    """What a new load takes from others: the GPU's time, and the models that must go and come back. Less what it saves
    them. Those who wait for the model gain by it too, so each pays a part: a burst joins a load under way, and a queue
    is worth one of its own.
    """
    weights, payers = demand.fleet.policy.weights, 1 + demand.snapshot.waiting
    if standing.tier is ROOM:
        # Together with the load never less than nothing: no idle warm instance is passed over.
        return max(-load_s, weights.load * load_s - _spread(demand, site, service_s, warm)) / payers
    return _going(demand, standing, load_s)


def _going(demand: Demand, standing: Standing, load_s: float) -> float:
    """What a load takes from others where some must go, or the model itself is loaded again."""
    weights, payers = demand.fleet.policy.weights, 1 + demand.snapshot.waiting
    return (weights.load * load_s + weights.evict * standing.regret_s) / payers


def reprice(demand: Demand, standing: Standing, cost: Cost) -> Cost:
    """Return the cost as it is when what the same models' going costs has changed, and nothing else."""
    wait_s, load_s, behind_s, _, share_s, slow_s, prefix_s = cost
    return Cost(wait_s, load_s, behind_s, _going(demand, standing, load_s), share_s, slow_s, prefix_s)


def _spread(demand: Demand, site: Site, service_s: float, warm: Pool) -> float:
    """What a copy on an instance with room saves the requests to come: each that moves here shares its GPUs with
    fewer others.
    """
    if not warm.copies:
        return 0.0
    weights = demand.fleet.policy.weights
    rates = demand.snapshot.learned.rate_per_s or {}
    fewer = warm.least_busy - site.activity.mean_in_flight
    if fewer <= 0:
        return 0.0
    within_s = estimates.STAYS_S if has_room_for_all(demand, site) else estimates.AGAIN_WITHIN_S
    moved = rates.get(demand.model, 0.0) * within_s / (warm.copies + 1)
    return weights.spread * moved * weights.share * service_s * fewer


def _share(demand: Demand, site: Site, service_s: float) -> float:
    """What requests on the same GPUs take from each other. Models that compute at once take turns, step by step: ours
    waits for each other model's, however many requests that has, and each of those waits for ours. One more request of
    a model that computes anyway only makes its batch larger. Requests of models that are not known count as others'.
    """
    alike, others, others_s = 0, 0, 0.0
    for model, count in site.activity.in_flight.items():
        if model == demand.model:
            alike = count
        else:
            others += count
            others_s += demand.models[model].service_s
    for model, theirs_s in site.state.others.items():
        if model != demand.model:
            others += 1
            others_s += theirs_s
    unknown = max(0, site.beside - alike - others)
    grows = estimates.ALIKE_SLOWDOWN
    delayed = unknown + 2 * grows * alike + (grows if alike else 1.0) * others
    return others_s + delayed * service_s


def _prefix(demand: Demand, site: Site) -> float:
    """Prefill that the cached beginning saves, as a negative cost. It never outweighs more than itself, so a busy
    instance loses the conversation as soon as sharing costs more; one without a slot, or without the model, at once.
    """
    return -demand.fleet.policy.weights.prefix * estimates.prefill_s(demand.weights_bytes, demand.facts.body_bytes)
