"""The decision: facts, fleet and snapshot in, Choice out.

Pure: no I/O, no clock, no random numbers, no logging; equal inputs give equal answers. So the same function runs
behind HAProxy, on a laptop and in benchmarks. Must not live here: how facts were read, what a Choice turns into.
"""

from __future__ import annotations

from zlib import crc32

from spoe_agent.routing.choice import Action, Candidate, Choice, Cost, Exclusion
from spoe_agent.routing.cost import cost, tier
from spoe_agent.routing.demand import Demand, Site, demand, site
from spoe_agent.routing.eligibility import exclusion
from spoe_agent.routing.facts import Problem, RequestFacts
from spoe_agent.routing.names import display
from spoe_agent.routing.snapshot import Snapshot
from spoe_agent.routing.specs import FleetSpec
from spoe_agent.routing.surface import Kind


def choose(facts: RequestFacts, fleet: FleetSpec, snapshot: Snapshot) -> Choice:
    """Return where the request goes, or the answer it gets at the door; with every instance and why."""
    if facts.problem is not None:
        return _refuse_unread(facts, fleet)
    need = demand(facts, fleet, snapshot)
    candidates = tuple([_candidate(need, site(spec, facts, snapshot)) for spec in fleet.instances])
    eligible = [candidate for candidate in candidates if candidate.exclusion is None]
    if not eligible:
        return _refuse_unserved(need, candidates)
    best = eligible[0] if facts.kind is Kind.MANAGE else _least(facts, eligible)
    reason = best.tier.name.lower() if best.tier is not None else str(facts.kind)
    return Choice(Action.ROUTE, reason, best.instance, best.tier, candidates=candidates)


def _candidate(need: Demand, where: Site) -> Candidate:
    excluded = exclusion(need, where)
    if excluded is not None:
        return excluded
    if not need.runs:
        # Costs next to nothing anywhere; the emptiest instance answers first.
        return Candidate(where.spec.name, cost=Cost(share_s=0.001 * where.connections))
    warmth = tier(need, where)
    return Candidate(where.spec.name, tier=warmth, cost=cost(need, where, warmth))


def _least(facts: RequestFacts, eligible: list[Candidate]) -> Candidate:
    """Least cost, then the warmer, then by a hash of the request's id, so that equals are spread."""
    least_s = min([candidate.cost.total_s for candidate in eligible])
    equals = [candidate for candidate in eligible if candidate.cost.total_s == least_s]
    if len(equals) == 1:
        return equals[0]
    return min(equals, key=lambda c: (c.tier or 0, _spread(facts.request_id, c.instance)))


def _spread(request_id: str, instance: str) -> int:
    """A CRC is linear: two names' CRCs differ by the same bits for every id, so of three equals one would get half.

    Fibonacci hashing (a product with 2^32 over the golden ratio) undoes that.
    """
    return crc32(f"{request_id} {instance}".encode()) * 0x9E3779B1 & 0xFFFFFFFF


_UNREAD = {
    Problem.UNREADABLE: (400, "unreadable"),
    Problem.BAD_NAME: (400, "bad model name"),
    Problem.TOO_LARGE: (413, "too large"),
}


def _refuse_unread(facts: RequestFacts, fleet: FleetSpec) -> Choice:
    """No model could be read: answered at the door, because any instance would be a guess."""
    problem = facts.problem or Problem.UNREADABLE
    status, reason = _UNREAD[problem]
    message = facts.detail
    if problem is Problem.TOO_LARGE:
        limit = fleet.policy.max_inspected_bytes
        message = (
            f"'model' was not found in the first {limit} bytes of the request body; "
            "put it first, or raise max_inspected_body in the fleet file"
        )
    return Choice(Action.REJECT, reason=reason, status=status, message=message)


def _refuse_unserved(need: Demand, candidates: tuple[Candidate, ...]) -> Choice:
    """No instance may serve it: 503 when waiting may help, 404 when nobody has the model."""
    exclusions = {candidate.exclusion for candidate in candidates}
    name = need.facts.asked or display(need.model)
    if Exclusion.DOWN in exclusions:
        served = f"that serves model '{name}' " if need.model else ""
        return Choice(
            Action.REJECT,
            reason="no instance up",
            status=503,
            message=f"no Ollama instance {served}is up; try again shortly",
            retry_after_s=need.fleet.policy.retry_after_s,
            candidates=candidates,
        )
    if Exclusion.CANNOT_FIT in exclusions:
        details = "; ".join(f"{c.instance} {c.detail}" for c in candidates if c.exclusion is Exclusion.CANNOT_FIT)
        message = f"model '{name}' does not fit the GPU memory of any instance: {details}"
        # Not 503: clients would try again, and again in vain.
        return Choice(Action.REJECT, reason="cannot fit", status=400, message=message, candidates=candidates)
    # The text of Ollama's own 404 (server/routes.go), so that clients who match on it go on working.
    message = f"model '{name}' not found"
    return Choice(Action.REJECT, reason="not found", status=404, message=message, candidates=candidates)
