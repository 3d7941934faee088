"""Which instances may serve a request, and why each of the others may not.

What would exclude an instance for good (pins, models) is looked for before what may pass (down). Which of several
instances' exclusions the caller is told: `rejections`.
"""

from __future__ import annotations

from spoe_agent.routing import estimates
from spoe_agent.routing.choice import Candidate, Exclusion
from spoe_agent.routing.demand import Demand, Site
from spoe_agent.routing.estimates import GIB
from spoe_agent.routing.names import display
from spoe_agent.routing.snapshot import ANY_MODEL, Avoided, Health
from spoe_agent.routing.surface import Kind

_DOUBTED = frozenset({Health.SUSPECT, Health.RECOVERING})
SERVING = frozenset({Health.UNKNOWN, Health.UP}) | _DOUBTED
"""In these an instance may be sent requests."""


def exclusions(demand: Demand, sites: list[Site], unfit: list[Candidate | None]) -> list[Candidate | None]:
    """Return for each instance the excluded Candidate, or None when it may serve the request.

    Doubtful instances are excluded only while another one may serve: they are better than none.

    Args:
        demand: what is asked.
        sites: the instances.
        unfit: those of them that are excluded for the model (`by_model`).
    """
    facts, only = demand.facts, demand.facts.wishes.instance
    is_plain = not only and not facts.tried and (not facts.servers or facts.servers is facts.loads)
    certain = [
        out
        if is_plain and (out or (site.is_well and (site.load or not facts.servers)))
        else Candidate(site.spec.name, Exclusion.NOT_ASKED_FOR, f"{only} was asked for")
        if only and site.spec.name != only
        else out or _by_front(demand, site) or _by_health(demand, site)
        for out, site in zip(unfit, sites, strict=True)
    ]
    doubts = [None if out or site.is_well else _doubt(demand, site) for out, site in zip(certain, sites, strict=True)]
    if not any(doubts):
        return certain
    if all(out or doubt for out, doubt in zip(certain, doubts, strict=True)):
        doubts = _later(demand, sites, doubts)
    return [out or doubt for out, doubt in zip(certain, doubts, strict=True)]


def _later(demand: Demand, sites: list[Site], doubts: list[Candidate | None]) -> list[Candidate | None]:
    """Of instances that are all in doubt, return which still are not to be asked: those passed over for longer than
    another. Who refuses at once is the emptiest, and would be sent everything, beside one that is well again.
    """
    terms = [_avoided(demand, site) if doubt else None for doubt, site in zip(doubts, sites, strict=True)]
    soonest_s = min((term.until_s for term in terms if term), default=0.0)
    return [doubt if term and term.until_s > soonest_s else None for doubt, term in zip(doubts, terms, strict=True)]


def by_model(demand: Demand, site: Site) -> Candidate | None:
    """Return the instance as excluded because of the model, whatever its health; None: it may serve that model."""
    if not demand.model:
        return None
    name, state = site.spec.name, site.state
    pins = demand.rule.instances
    if pins is not None and name not in pins:
        return Candidate(name, Exclusion.NOT_PINNED, f"pinned to {', '.join(pins)}")
    if demand.model in state.loaded and demand.model not in state.deleted:
        return None
    if state.is_starting:
        return Candidate(name, Exclusion.NO_LISTS, "has just started, and lists no models yet")
    if state.installed_at_s is not None and demand.model not in state.installed:
        return Candidate(name, Exclusion.NOT_INSTALLED, f"does not list {display(demand.model)}")
    return _by_room(demand, site) if demand.runs else None


def _by_room(demand: Demand, site: Site) -> Candidate | None:
    """Not even an empty GPU group would hold it. Not knowing the group's memory counts as room, and so does a CPU's."""
    room = site.spec.vram_bytes
    needed = estimates.least_vram_bytes(demand.rule, demand.weights_bytes)
    if not room or needed <= room:
        return None
    return Candidate(site.spec.name, Exclusion.CANNOT_FIT, f"needs {needed / GIB:.1f} GiB of {room / GIB:.1f} GiB")


def _by_front(demand: Demand, site: Site) -> Candidate | None:
    """HAProxy gives a name that it does not know to any server, and knows one by the address of its own file."""
    spec, servers = site.spec, demand.facts.servers
    if not servers:
        return None
    there = servers.get(spec.name)
    if there is None:
        return Candidate(spec.name, Exclusion.NOT_IN_HAPROXY, "HAProxy was not reloaded since it was added")
    if there.tag and there.tag != spec.tag:
        return Candidate(spec.name, Exclusion.NOT_IN_HAPROXY, "HAProxy was not reloaded since its url changed")
    return None


def _by_health(demand: Demand, site: Site) -> Candidate | None:
    if site.spec.name in demand.facts.tried:
        return Candidate(site.spec.name, Exclusion.DOWN, "did not take this request")
    if site.load is not None and not site.load.is_up:
        return Candidate(site.spec.name, Exclusion.DOWN, "HAProxy's health check failed")
    if site.state.health in SERVING:
        return None
    if site.state.health is Health.DOWN:
        return Candidate(site.spec.name, Exclusion.DOWN, "refuses connections")
    return None if demand.facts.kind is Kind.LIST else _drained(site)


def _drained(site: Site) -> Candidate:
    return Candidate(site.spec.name, Exclusion.DRAINED, "drained by hand")


def _doubt(demand: Demand, site: Site) -> Candidate | None:
    """Return what speaks against an instance without ruling it out."""
    name, state = site.spec.name, site.state
    if state.health is Health.DRAINED:  # it lists what it has, if nobody else does
        return _drained(site)
    if state.health in _DOUBTED:
        return Candidate(name, Exclusion.SUSPECT, state.why or str(state.health))
    if state.loads_in_doubt and demand.runs and demand.model not in state.loaded:
        return Candidate(name, Exclusion.SUSPECT, state.why or "its loads do not come to their end")
    term = _avoided(demand, site)
    if term is not None:
        return Candidate(name, Exclusion.SUSPECT, term.why)
    broken = state.lost_gpus or site.gpus.doubt.broken
    return Candidate(name, Exclusion.GPU, broken) if broken else None


def _avoided(demand: Demand, site: Site) -> Avoided | None:
    """Return for what an instance is passed over, the longest; None when it is not."""
    if not site.state.avoided or demand.facts.kind is not Kind.INFERENCE:
        return None
    terms = [site.state.avoided.get(model or ANY_MODEL) for model in (ANY_MODEL, demand.facts.runner)]
    now = [term for term in terms if term is not None and demand.snapshot.at_s < term.until_s]
    return max(now, key=lambda term: term.until_s, default=None)
