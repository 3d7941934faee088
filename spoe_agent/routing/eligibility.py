"""Who may serve a request, and for each that may not, why.

Lives here: exclusions, in the order in which they are told. What would exclude an instance for good (pins, models)
comes before what may pass (down), so that the last word says whether waiting helps.
Must not live here: costs, preferences, time.
"""

from __future__ import annotations

from spoe_agent.routing import estimates
from spoe_agent.routing.choice import Candidate, Exclusion
from spoe_agent.routing.demand import Demand, Site
from spoe_agent.routing.estimates import GIB
from spoe_agent.routing.names import display
from spoe_agent.routing.snapshot import Health


def exclusion(demand: Demand, site: Site) -> Candidate | None:
    """Return the instance as an excluded Candidate, or None when it may serve the request."""
    excluded = _by_model(demand, site) if demand.model else None
    return excluded or _by_health(site)


def _by_model(demand: Demand, site: Site) -> Candidate | None:
    name, state = site.spec.name, site.state
    pins = demand.rule.instances
    if pins is not None and name not in pins:
        return Candidate(name, Exclusion.NOT_PINNED, f"pinned to {', '.join(pins)}")
    if demand.model in state.loaded:
        return None
    if state.installed_at_s is not None and demand.model not in state.installed:
        return Candidate(name, Exclusion.NOT_INSTALLED, f"does not list {display(demand.model)}")
    return _by_room(demand, site) if demand.runs else None


def _by_room(demand: Demand, site: Site) -> Candidate | None:
    """Not even an empty GPU group would hold it. Not knowing the group's memory counts as room."""
    room = site.spec.vram_bytes
    needed = estimates.least_vram_bytes(demand.rule, demand.weights_bytes)
    if room is None or needed <= room:
        return None
    return Candidate(site.spec.name, Exclusion.CANNOT_FIT, f"needs {needed / GIB:.1f} GiB of {room / GIB:.1f} GiB")


def _by_health(site: Site) -> Candidate | None:
    if site.load is not None and not site.load.is_up:
        return Candidate(site.spec.name, Exclusion.DOWN, "HAProxy's health check failed")
    if site.state.health is Health.DOWN:
        return Candidate(site.spec.name, Exclusion.DOWN, "refuses connections")
    return None
