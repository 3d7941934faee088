"""The decision: facts, fleet and snapshot in, Choice out.

Pure: no I/O, no clock, no random numbers, no logging; equal inputs give equal answers. So the same function runs behind
HAProxy, on a laptop and in benchmarks.
"""

from __future__ import annotations

from zlib import crc32

from spoe_agent.routing import rejections
from spoe_agent.routing.change import Verb
from spoe_agent.routing.choice import LOADED, Action, Candidate, Choice, Cost, Reason, Tier
from spoe_agent.routing.cost import WARM
from spoe_agent.routing.demand import Demand, Site
from spoe_agent.routing.eligibility import exclusions
from spoe_agent.routing.facts import RequestFacts
from spoe_agent.routing.judged import Judged, Judgements
from spoe_agent.routing.memo import Memo
from spoe_agent.routing.snapshot import Snapshot
from spoe_agent.routing.specs import FleetSpec
from spoe_agent.routing.stores import UNREADABLE, plan
from spoe_agent.routing.surface import Kind
from spoe_agent.routing.warmth import has_copy

NEARLY = 0.2
"""Of instances that are alike, learned times count as equal within this part of them."""

_OF_TIER = {tier: Reason(tier.name.lower()) for tier in Tier}
_OF_KIND = {kind: Reason(kind) for kind in Kind}


def choose(facts: RequestFacts, fleet: FleetSpec, snapshot: Snapshot, memo: Memo | None = None) -> Choice:
    """Return where the request goes, or the answer it gets at the door; with every instance and why.

    Args:
        facts: the request.
        fleet: the fleet.
        snapshot: everything live.
        memo: what decisions before this one worked out; with it the choice is the same, only sooner.
    """
    if facts.problem is not None:
        return rejections.unread(facts, facts.problem, fleet)
    if not facts.rights.may_manage or facts.rights.models is not None:
        refused = rejections.forbidden(facts)
        if refused is not None:
            return refused
    memo = Memo() if memo is None else memo
    demand = memo.demand(facts, fleet, snapshot)
    sites = memo.sites(facts, fleet, snapshot)
    if facts.kind is Kind.MANAGE:
        return _changing(demand, sites)
    kept = memo.judgements(demand) if demand.runs else Judgements()
    judged = kept.of(demand, sites)
    excluded = exclusions(demand, sites, [one.unfit for one in judged])
    eligible = [one for one, out in zip(judged, excluded, strict=True) if out is None]
    price = kept.price if demand.runs else _answer
    price(demand, eligible)
    candidates = tuple([out or one.candidate for out, one in zip(excluded, judged, strict=True)])
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
    found = plan(change, demand.fleet, sites, lambda of_store: exclusions(demand, of_store, [None] * len(of_store)))
    able = [writing for writing in found.writings if writing.writers]
    if not able:
        return rejections.unserved(demand, found.candidates)
    reason = _OF_KIND[demand.facts.kind]
    if len(found.writings) == 1 or change.verb is Verb.PUSH:
        return Choice(Action.ROUTE, reason, able[0].writers[0], candidates=found.candidates)
    if demand.facts.tried:
        return rejections.shut(demand, found.candidates)
    return Choice(Action.ROUTE, reason, candidates=found.candidates, writings=found.writings)


def _unloading(demand: Demand, sites: list[Site], eligible: list[Judged], candidates: tuple[Candidate, ...]) -> Choice:
    """A request that unloads a model goes to one that has it, and the others that have it are told beside it."""
    best = _least(demand, [one for one in eligible if has_copy(demand, one.site)] or eligible)
    is_of_all = not demand.facts.wishes.instance
    others = [s.spec.name for s in sites if is_of_all and s.spec.name != best.instance and has_copy(demand, s)]
    unloads = tuple((demand.model, name) for name in others)
    return Choice(Action.ROUTE, _OF_KIND[Kind.UNLOAD], best.instance, candidates=candidates, unloads=unloads)


def _answer(_demand: Demand, eligible: list[Judged]) -> None:
    """A request that needs no model loaded costs next to nothing anywhere; the emptiest instance answers first."""
    for one in eligible:
        one.take(Candidate(one.site.spec.name, cost=Cost(share_s=0.001 * one.site.connections)))


def _may_run(demand: Demand, sites: list[Site], best: Candidate) -> bool:
    """Tell whether the request may go now: there is a slot that nobody waits for, and the model's own limit leaves
    room. Nobody waits for a slot of an instance that has yet to load the model.
    """
    if demand.rule.is_at_limit(demand.model, (site.activity for site in sites)):
        return False
    return best.has_slot and (best.tier not in WARM or not demand.snapshot.waiting)


def _least(demand: Demand, eligible: list[Judged]) -> Candidate:
    """Return the one that costs least; of equals the first by rank, and of these by a hash of the request's id, so
    that they are spread.
    """
    totals = [one.total_s for one in eligible]
    least_s = min(totals)
    best, near_s = eligible[totals.index(least_s)], (1 + NEARLY) * least_s
    equals = [
        one
        for one, total_s in zip(eligible, totals, strict=True)
        if total_s == least_s or (total_s <= near_s and _are_alike(demand, best, one))
    ]
    first = min([one.rank for one in equals])
    equals = [one for one in equals if one.rank == first]
    if len(equals) == 1:
        return equals[0].candidate
    begun = crc32(f"{demand.facts.request_id} ".encode())
    spread = [_spread(begun, one.site.salt) for one in equals]
    return equals[spread.index(min(spread))].candidate


def _are_alike(demand: Demand, one: Judged, other: Judged) -> bool:
    """Tell whether only learned times tell two instances apart, and these by chance: the request could run at once
    on both, beside as many others, and every model in use has its place on both.
    """
    return one.site.beside == other.site.beside and _is_shared(demand, one) and _is_shared(demand, other)


def _is_shared(demand: Demand, one: Judged) -> bool:
    """Tell whether a request costs nothing there but that others share the GPUs, and no model has to go for another."""
    is_free = one.tier is LOADED and one.candidate.has_slot
    return is_free and one.total_s == one.candidate.cost.share_s and one.has_room_for_all(demand)


def _spread(begun: int, instance: bytes) -> int:
    """A CRC is linear: two names' CRCs differ by the same bits for every id, so of three equals one would get half.

    Fibonacci hashing (a product with 2^32 over the golden ratio) undoes that.
    """
    return crc32(instance, begun) * 0x9E3779B1 & 0xFFFFFFFF
