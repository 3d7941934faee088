"""Which loaded models are to be kept although nobody uses them just now: those that will be wanted again, while no
other needs their room.

Ollama unloads a model that was idle for its keep_alive, five minutes usually, whether or not anything else needs the
memory. Whoever asks next waits for a load that gained nobody anything. A request without a prompt (a touch) sets the
time anew. Pure: times are passed in.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from spoe_agent.routing.choice import ROOM
from spoe_agent.routing.demand import Demand, Models, Site
from spoe_agent.routing.facts import RequestFacts
from spoe_agent.routing.snapshot import Activity, Health, InstanceState, LoadedModel, Snapshot
from spoe_agent.routing.specs import FleetSpec, InstanceSpec
from spoe_agent.routing.surface import Dialect, Kind
from spoe_agent.routing.warmth import stand

BEFORE_S = 20.0
"""So long before its time is over a model is touched: clocks differ a little, and polls have their distance."""

LEAST_S = 3.0
"""With less time left it may be gone when the touch arrives, which would then load it."""

BUSY = 0.05
"""Requests in flight on average, from which on a model may want another copy. With 0.25 a fleet that is full was kept
full, and other models' loads had to evict (F2-vram: the mean 1.12 of what it is without touches).
"""


class Touch(NamedTuple):
    """A model that is to stay where it is."""

    instance: str
    model: str
    """Canonical key."""
    context_length: int
    """That it is loaded with: Ollama reloads it for another. 0: not known."""


def touches(fleet: FleetSpec, snapshot: Snapshot, wall_s: float) -> Iterator[Touch]:
    """Yield the idle models that are to be kept and would go soon.

    Those that are in use, or are to stay by their rule, and loaded nowhere else, as long as whatever else may have to
    be loaded would still have room somewhere: else it would have to wait until one of these is gone. A copy beside
    others goes: what idles for minutes is one too many.

    Args:
        fleet: the instances.
        snapshot: what is loaded, in flight and learned.
        wall_s: now, as `expires_at` is: seconds since 1970.
    """
    ending = [
        Touch(spec.name, model, loaded.context_length)
        for spec in fleet.instances
        for model, loaded in snapshot.state(spec.name).loaded.items()
        if _ends_soon(loaded, wall_s) and _may_stay(model, snapshot.state(spec.name), snapshot.active(spec.name))
    ]
    if not ending:
        return
    models = Models(fleet, snapshot)

    def copies(model: str) -> int:
        return sum(_has(model, snapshot, spec) for spec in fleet.instances)

    rates = snapshot.learned.rate_per_s or {}
    to_load = [model for model in models.in_use if not copies(model) or rates[model] * models[model].service_s >= BUSY]
    if all(_has_place(model, fleet, snapshot) for model in to_load):
        yield from (touch for touch in ending if _is_kept(touch.model, models) and copies(touch.model) == 1)


def _is_kept(model: str, models: Models) -> bool:
    stays = models[model].rule.stays
    return model in models.in_use if stays is None else stays


def _ends_soon(loaded: LoadedModel, wall_s: float) -> bool:
    return loaded.expires_at_s is not None and LEAST_S <= loaded.expires_at_s - wall_s <= BEFORE_S


def _may_stay(model: str, state: InstanceState, activity: Activity) -> bool:
    """While requests run no time runs; and nobody is asked to keep what is to go, what it may not have any more, or
    what other options loaded: a touch has none, and would load it anew.
    """
    is_well = state.health in (Health.UP, Health.UNKNOWN) and not state.loads_in_doubt and model not in state.deleted
    is_idle = model not in activity.in_flight and model not in activity.loading
    stays = model not in activity.leaving and not activity.reserved and not activity.options.get(model)
    return is_well and is_idle and stays


def _has(model: str, snapshot: Snapshot, spec: InstanceSpec) -> bool:
    activity = snapshot.active(spec.name)
    return (model in snapshot.state(spec.name).loaded or model in activity.loading) and model not in activity.leaving


def _has_place(model: str, fleet: FleetSpec, snapshot: Snapshot) -> bool:
    """Tell whether a first copy, or another, would have room somewhere, or every instance has one."""
    facts = RequestFacts("", Kind.INFERENCE, Dialect.OLLAMA, model)
    demand = Demand.of(facts, fleet, snapshot)
    others = [spec for spec in fleet.instances if not _has(model, snapshot, spec)]
    return not others or any(stand(demand, Site.of(spec, facts, snapshot)).tier is ROOM for spec in others)
