"""What an instance's memory holds, and will hold, as plain data: loaded models with their slots, loads under way."""

from __future__ import annotations

from typing import Any

from spoe_agent.routing import estimates
from spoe_agent.routing.cost import loads_left
from spoe_agent.routing.demand import Demand, Site
from spoe_agent.routing.facts import RequestFacts
from spoe_agent.routing.names import display
from spoe_agent.routing.snapshot import InstanceState, LoadedModel, Snapshot
from spoe_agent.routing.specs import FleetSpec, InstanceSpec
from spoe_agent.routing.surface import Dialect, Kind

_NOBODY = RequestFacts("", Kind.LIST, Dialect.OLLAMA)


def loaded(spec: InstanceSpec, fleet: FleetSpec, state: InstanceState) -> list[dict[str, Any]]:
    """Return the models that the instance lists."""
    return [_model(model, one, slots(model, spec, fleet, state)) for model, one in sorted(state.loaded.items())]


def loads(spec: InstanceSpec, fleet: FleetSpec, snapshot: Snapshot) -> list[dict[str, Any]]:
    """Return the loads under way, with the seconds each has taken and will take as it seems, and its memory."""
    state, active = snapshot.state(spec.name), snapshot.active(spec.name)
    if not active.unfinished:
        return []
    demand = Demand.of(_NOBODY, fleet, snapshot)
    left_s = loads_left(demand, Site.of(spec, _NOBODY, snapshot))
    found = []
    for model, since_s in active.unfinished.items():
        about, context = demand.models[model], active.contexts.get(model)
        takes = estimates.vram_bytes(model, about.rule, about.weights_bytes, spec, state, context)
        found.append(
            {
                "model": display(model),
                "since_s": round(snapshot.at_s - since_s, 1),
                "left_s": round(left_s[model], 1),
                "size_bytes": takes,
                "slots": slots(model, spec, fleet, state),
            }
        )
    return found


def used_bytes(loaded: list[dict[str, Any]], loads: list[dict[str, Any]], foreign_bytes: int) -> int:
    """Return what is taken of an instance's memory, or is going to be, as far as is known."""
    # Of a load with another context the model is on the list.
    listed = {model["model"] for model in loaded}
    coming = sum(load["size_bytes"] for load in loads if load["model"] not in listed)
    return int(sum(model["vram_bytes"] for model in loaded) + coming + foreign_bytes)


def slots(model: str, spec: InstanceSpec, fleet: FleetSpec, state: InstanceState) -> int:
    """Return how many requests of a model run there at a time."""
    return 1 if model in state.one_by_one else fleet.rule(model).slots(spec.num_parallel)


def _model(model: str, one: LoadedModel, slots: int) -> dict[str, Any]:
    return {
        "model": display(model),
        "size_bytes": one.size_bytes,
        "vram_bytes": one.vram_bytes,
        "context_length": one.context_length,
        "slots": slots,
    }
