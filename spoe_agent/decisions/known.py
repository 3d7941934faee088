"""What an agent knows beside its requests, as a row of the log: the instances, what they have loaded, sizes of models,
and times that were learned. Who runs the requests again needs these.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from spoe_agent.agent.agent import Agent
from spoe_agent.agent.learner import Mean
from spoe_agent.routing.names import display
from spoe_agent.routing.snapshot import InstanceState, Pair
from spoe_agent.routing.specs import InstanceSpec


def known(agent: Agent, wall_s: float) -> dict[str, Any]:
    """Return it as plain data. `wall_s`: now, in seconds since 1970."""
    specs, learner = agent.fleet.instances, agent.learner
    return {
        "time": round(wall_s, 3),
        "instances": {spec.name: _instance(spec, agent.board.state(spec.name)) for spec in specs},
        "stores": _stores(agent),
        "cached": {store: [display(model) for model in files] for store, files in learner.cached.items()},
        "learned": {
            "service_s": _means(learner.service),
            "first_byte_s": _means(learner.first_byte),
            "load_s": _means(learner.load),
            "from_disk": {store: [round(it.seconds, 4), it.samples] for store, it in learner.from_disk.items()},
        },
    }


def _stores(agent: Agent) -> dict[str, dict[str, int]]:
    """Return each store's models. Instances that share one share its list too: thousands of models are gone through
    once, not for each of them.
    """
    lists: dict[str, dict[int, Mapping[str, int]]] = {}
    for spec in agent.fleet.instances:
        installed = agent.board.state(spec.name).installed
        lists.setdefault(spec.store, {})[id(installed)] = installed
    return {
        store: {display(model): size for installed in several.values() for model, size in installed.items()}
        for store, several in lists.items()
    }


def _instance(spec: InstanceSpec, state: InstanceState) -> dict[str, Any]:
    return {
        "store": spec.store,
        "vram_bytes": spec.vram_bytes,
        "num_parallel": spec.num_parallel,
        "max_loaded_models": spec.max_loaded_models,
        "max_connections": spec.max_connections,
        "loaded": {
            display(model): {"bytes": one.size_bytes, "context_length": one.context_length}
            for model, one in state.loaded.items()
        },
    }


def _means(means: Mapping[Pair, Mean]) -> list[list[Any]]:
    """Model, instance, seconds, and of how many requests."""
    return [[display(model), name, round(mean.seconds, 4), mean.samples] for (model, name), mean in means.items()]
