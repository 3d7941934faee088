"""The decision: facts, fleet and snapshot in, Choice out.

Pure: no I/O, no clock, no random numbers, no logging; equal inputs give equal answers. So the same function runs behind
HAProxy, on a laptop and in benchmarks.
"""

from __future__ import annotations

from zlib import crc32

from spoe_agent.routing import rejections
from spoe_agent.routing.change import Verb
from spoe_agent.routing.choice import LOADED, Action, Candidate, Choice, Cost, Reason, Tier
from spoe_agent.routing.cost import WARM, Pool, predict
from spoe_agent.routing.demand import Demand, Site
from spoe_agent.routing.eligibility import exclusions
from spoe_agent.routing.facts import RequestFacts
from spoe_agent.routing.slowness import USUAL, Slowness, slowness, unslowed_s
from spoe_agent.routing.snapshot import Snapshot
from spoe_agent.routing.specs import FleetSpec
from spoe_agent.routing.stores import UNREADABLE, plan
from spoe_agent.routing.surface import Kind
from spoe_agent.routing.warmth import Standing, has_copy, has_room_for_all, has_slot, stand

NEARLY = 0.2
"""Of instances that are alike, learned times count as equal within this part of them."""

_OF_TIER = {tier: Reason(tier.name.lower()) for tier in Tier}
_OF_KIND = {kind: Reason(kind) for kind in Kind}

_Judged = tuple[Candidate, Site]


def choose(facts: RequestFacts, fleet: FleetSpec, snapshot: Snapshot) -> Choice:
    """Return where the request goes, or the answer it gets at the door; with every instance and why."""
    if facts.problem is not None:
        return rejections.unread(facts, facts.problem, fleet)
    if not facts.rights.may_manage or facts.rights.models is not None:
        refused = rejections.forbidden(facts)
        if refused is not None:
            return refused
    demand = Demand.of(facts, fleet, snapshot)
    sites = [Site.of(spec, facts, snapshot) for spec in fleet.instances]
    if facts.kind is Kind.MANAGE:
        return _changing(demand, sites)
    excluded = exclusions(demand, sites)
    candidates = _running(demand, sites, excluded) if demand.runs else _answering(sites, excluded)
    eligible = [pair for pair in zip(candidates, sites, strict=True) if pair[0].exclusion is None]
    if not eligible:
        return rejections.unserved(demand, candidates)
    if facts.kind is Kind.UNLOAD:
        return _unloading(demand, sites, eligible, candidates)
    best = _least(demand, eligible)
    held = fleet.policy.hold_s > 0 and demand.runs and not _may_run(demand, sites, best)
    action = Action.HOLD if held else Action.ROUTE
    reason = _OF_KIND[facts.kind] if best.tier is None else _OF_TIER[best.tier]
    return Choice(action, reason, best.instance, best.tier, candidates=candidates, failed=facts.refusing)


def _changing(demand: Demand, sites: list[Site]) -> Choice:
    """A request that changes model stores."""
    change = demand.facts.change or UNREADABLE
    found = plan(change, demand.fleet, sites, lambda of_store: exclusions(demand, of_store))
    able = [writing for writing in found.writings if writing.writers]
    if not able:
        return rejections.unserved(demand, found.candidates)
    reason = _OF_KIND[demand.facts.kind]
    if len(found.writings) == 1 or change.verb is Verb.PUSH:
        return Choice(Action.ROUTE, reason, able[0].writers[0], candidates=found.candidates)
    if demand.facts.tried:
        return rejections.shut(demand, found.candidates)
    return Choice(Action.ROUTE, reason, candidates=found.candidates, writings=found.writings)


def _unloading(demand: Demand, sites: list[Site], eligible: list[_Judged], candidates: tuple[Candidate, ...]) -> Choice:
    """A request that unloads a model goes to one that has it, and the others that have it are told beside it."""
    best = _least(demand, [judged for judged in eligible if has_copy(demand, judged[1])] or eligible)
    is_of_all = not demand.facts.wishes.instance
    others = [s.spec.name for s in sites if is_of_all and s.spec.name != best.instance and has_copy(demand, s)]
    unloads = tuple((demand.model, name) for name in others)
    return Choice(Action.ROUTE, _OF_KIND[Kind.UNLOAD], best.instance, candidates=candidates, unloads=unloads)


def _answering(sites: list[Site], excluded: list[Candidate | None]) -> tuple[Candidate, ...]:
    """A request that needs no model loaded costs next to nothing anywhere; the emptiest instance answers first."""
    return tuple(
        [
            out or Candidate(site.spec.name, cost=Cost(share_s=0.001 * site.connections))
            for out, site in zip(excluded, sites, strict=True)
        ]
    )


def _running(demand: Demand, sites: list[Site], excluded: list[Candidate | None]) -> tuple[Candidate, ...]:
    """Judge every instance for a request that runs a model."""
    eligible = [site for out, site in zip(excluded, sites, strict=True) if out is None]
    standings = {site.spec.name: stand(demand, site) for site in eligible}
    warm = Pool.of(demand, [site for site in eligible if standings[site.spec.name].tier in WARM])
    slow = [slowness(demand, site, standings[site.spec.name]) for site in eligible]
    is_any = slow.count(USUAL) < len(slow)
    usual_s = unslowed_s(demand, list(zip(eligible, slow, strict=True))) if is_any else 0.0
    judged = iter(slow)
    return tuple(
        [
            out or _candidate(demand, site, standings[site.spec.name], warm, next(judged), usual_s)
            for out, site in zip(excluded, sites, strict=True)
        ]
    )


def _candidate(demand: Demand, site: Site, standing: Standing, warm: Pool, slow: Slowness, usual_s: float) -> Candidate:
    """Judge one instance that may serve the request."""
    free = has_slot(demand, site, standing)
    predicted = predict(demand, site, standing, free, warm)
    if slow is not USUAL:
        predicted = predicted._replace(slow_s=(slow.factor - 1.0) * usual_s)
    return Candidate(site.spec.name, None, slow.why, standing.tier, predicted, standing.gone, free)


def _may_run(demand: Demand, sites: list[Site], best: Candidate) -> bool:
    """Tell whether the request may go now: there is a slot that nobody waits for, and the model's own limit leaves
    room. Nobody waits for a slot of an instance that has yet to load the model.
    """
    if demand.rule.is_at_limit(demand.model, (site.activity for site in sites)):
        return False
    return best.has_slot and (best.tier not in WARM or not demand.snapshot.waiting)


def _least(demand: Demand, eligible: list[_Judged]) -> Candidate:
    """Least cost, then the warmer, then the one whose last request is oldest, because it no longer reads its prompt;
    then by a hash of the request's id, so that equals are spread.
    """
    totals = [candidate.cost.total_s for candidate, _ in eligible]
    least_s = min(totals)
    best, near_s = eligible[totals.index(least_s)], (1 + NEARLY) * least_s
    equals = [
        judged
        for judged, total_s in zip(eligible, totals, strict=True)
        if total_s == least_s or (total_s <= near_s and _are_alike(demand, best, judged))
    ]
    if len(equals) == 1:
        return equals[0][0]
    begun = crc32(f"{demand.facts.request_id} ".encode())
    return min(equals, key=lambda it: (it[0].tier or 0, it[1].activity.granted_at_s, _spread(begun, it[0].instance)))[0]


def _are_alike(demand: Demand, one: _Judged, other: _Judged) -> bool:
    """Tell whether only learned times tell two instances apart, and these by chance: the request could run at once
    on both, beside as many others, and every model in use has its place on both.
    """
    if one[1].beside != other[1].beside:
        return False
    return all(
        candidate.tier is LOADED
        and candidate.has_slot
        and candidate.cost.total_s == candidate.cost.share_s
        and has_room_for_all(demand, site)
        for candidate, site in (one, other)
    )


def _spread(begun: int, instance: str) -> int:
    """A CRC is linear: two names' CRCs differ by the same bits for every id, so of three equals one would get half.

    Fibonacci hashing (a product with 2^32 over the golden ratio) undoes that.
    """
    return crc32(instance.encode(), begun) * 0x9E3779B1 & 0xFFFFFFFF
