"""Which model belongs where, once and for all, when the work of every model is known beforehand.

Pure. Not an optimum: greedy, then improved by single steps.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from spoe_agent.simulator import InstanceProfile, Model
from spoe_agent.simulator.virtual.fleet import FleetPlan, vram_bytes

Places = tuple[frozenset[Model], ...]
"""The models of each instance."""

OWN_BATCH = 0.3
"""What a request of the same model costs, against one of another: they share a batch instead of the GPU."""

ROUNDS = 3
"""How often the division of work over copies and what it meets there are computed from one another."""


LEAST_GAIN = 1e-9
"""Less is rounding."""


class ModelDemand(NamedTuple):
    """What is asked of one model."""

    prefill_s: float
    """Until first tokens, alone on a GPU, over all its requests."""
    work_s: float
    """Until their ends."""


Demands = Mapping[Model, ModelDemand]
Parts = dict[Model, dict[int, float]]
"""Which part of a model's work each server does."""


def place(fleet: FleetPlan, demand: Demands) -> Places:
    """Return the models of each instance. Those that find no place are nowhere.

    Args:
        fleet: the instances.
        demand: of each model to be placed.
    """
    places: Places = tuple(frozenset() for _ in fleet.instances)
    # The largest first: small ones find room in what is left.
    for model in sorted(demand, key=lambda model: (-model.size_bytes, model.name)):
        places = _best(_with(places, model, fleet), demand) or places
    places = _improved(places, fleet, demand)
    # Whoever chooses well among copies is never worse off with one more.
    while (grown := _best([more for model in demand for more in _with(places, model, fleet)], demand)) is not None:
        places = grown
    return _improved(places, fleet, demand)


def in_order(models: frozenset[Model], profile: InstanceProfile) -> list[Model]:
    """Return the order in which an instance has to load its models: the largest first, because beside others a model
    must fit in a part of the free memory (`fit_fraction`).
    """
    return sorted(models, key=lambda model: (-vram_bytes(model, profile), model.name))


def holds(profile: InstanceProfile, models: frozenset[Model]) -> bool:
    """Tell whether an instance can have all these models loaded at once."""
    free_bytes = profile.vram_bytes
    for number, model in enumerate(in_order(models, profile)):
        needed_bytes = vram_bytes(model, profile)
        if needed_bytes > free_bytes * (profile.fit_fraction if number else 1.0):
            return False
        free_bytes -= needed_bytes
    return len(models) <= profile.loaded_limit()


def _best(choices: Iterable[Places], demand: Demands) -> Places | None:
    return min(choices, key=lambda places: _cost(places, demand), default=None)


def _improved(places: Places, fleet: FleetPlan, demand: Demands) -> Places:
    """Take the best step as long as one helps."""
    while (best := _best(_steps(places, fleet), demand)) is not None:
        if _cost(best, demand) >= (1 - LEAST_GAIN) * _cost(places, demand):
            break
        places = best
    return places


def _steps(places: Places, fleet: FleetPlan) -> Iterator[Places]:
    """Every placement with one copy more, one moved, one replaced, or two exchanged; no model loses its last copy."""
    models = frozenset().union(*places)
    copies = Counter(model for held in places for model in held)
    for model in _by_name(models):
        yield from _with(places, model, fleet)
    for server, held in enumerate(places):
        for model in _by_name(held):
            without = _changed(places, server, held - {model})
            yield from _with(without, model, fleet, but=server)
            for other in _by_name(models - held) if copies[model] > 1 else ():
                yield from _kept([(server, held - {model} | {other})], places, fleet)
            yield from _exchanges(places, server, model, fleet)


def _exchanges(places: Places, server: int, model: Model, fleet: FleetPlan) -> Iterator[Places]:
    held = places[server]
    for elsewhere in range(server):
        theirs = places[elsewhere]
        if model not in theirs:
            for other in _by_name(theirs - held):
                changes = [(server, held - {model} | {other}), (elsewhere, theirs - {other} | {model})]
                yield from _kept(changes, places, fleet)


def _with(places: Places, model: Model, fleet: FleetPlan, but: int = -1) -> Iterator[Places]:
    """Every placement with one more copy of a model."""
    for server, held in enumerate(places):
        if model not in held and server != but:
            yield from _kept([(server, held | {model})], places, fleet)


def _kept(changes: Sequence[tuple[int, frozenset[Model]]], places: Places, fleet: FleetPlan) -> Iterator[Places]:
    """The changed placement, if every changed instance can hold what it gets."""
    if all(holds(fleet.instances[server], models) for server, models in changes):
        for server, models in changes:
            places = _changed(places, server, models)
        yield places


def _changed(places: Places, server: int, models: frozenset[Model]) -> Places:
    return (*places[:server], models, *places[server + 1 :])


def _by_name(models: frozenset[Model]) -> list[Model]:
    """Sets have another order in every process, and of equal placements the first is taken."""
    return sorted(models, key=lambda model: model.name)


def _cost(places: Places, demand: Demands) -> float:
    """How much a first token is delayed by what else the GPU has to do, over all requests.

    A request goes where it is disturbed least, so more of a model's work is where less other work is, and of several
    copies at least one is likely to be free: their disturbances add up like resistors side by side. Instances of
    different speed count alike: what is slower there is the work itself, not the disturbance.
    """
    copies: dict[Model, list[int]] = {}
    for server, held in enumerate(places):
        for model in _by_name(held):
            copies.setdefault(model, []).append(server)
    parts = {model: dict.fromkeys(servers, 1 / len(servers)) for model, servers in copies.items()}
    for _ in range(ROUNDS):
        parts, total = _spread(parts, demand, len(places))
    return total


def _spread(parts: Parts, demand: Demands, servers: int) -> tuple[Parts, float]:
    """Return how models' work divides when it prefers where it is disturbed less, and the delays of now."""
    work_s = [0.0] * servers
    for model, of_model in parts.items():
        for server, part in of_model.items():
            work_s[server] += part * demand[model].work_s
    total, spread = 0.0, {}
    for model, of_model in parts.items():
        own_s = (1 - OWN_BATCH) * demand[model].work_s
        ease = {server: 1 / max(1e-9, work_s[server] - own_s * part) for server, part in of_model.items()}
        together = sum(ease.values())
        total += demand[model].prefill_s / together
        spread[model] = {server: one / together for server, one in ease.items()}
    return spread, total
