"""A plan as the fleet file has it: instances and rules of models, plain data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from spoe_agent.fleet import Fleet, Instance
from spoe_agent.fleet.urls import FIRST_PORT
from spoe_agent.plan.proposal import Plan, PlannedGroup
from spoe_agent.plan.room import profile
from spoe_agent.plan.wishes import USUAL_SLOTS, Gpu, Wish
from spoe_agent.routing.names import display


@dataclass(frozen=True, slots=True)
class PlannedInstance:
    """One instance."""

    name: str
    url: str
    gpus: tuple[int | str, ...]
    num_parallel: int
    max_connections: int
    context: int
    max_loaded: int
    replaces: Instance | None = None
    """The instance of the fleet file that has just these GPUs: its name and address stay."""


@dataclass(frozen=True, slots=True)
class Rule:
    """What the file says of one model."""

    model: str
    """Canonical key."""
    instances: tuple[str, ...] = ()
    """Where it is pinned; (): anywhere."""
    size: int = 0
    shape: dict[str, int] = field(default_factory=dict)
    latency: str = ""
    """"": as the file has it."""

    def data(self) -> dict[str, Any]:
        """Return the keys of the rule."""
        pins = {"instances": list(self.instances)} if self.instances else {}
        latency = {"latency": self.latency} if self.latency else {}
        return pins | {"size": self.size} | ({"shape": self.shape} if self.shape else {}) | latency


def entries(plan: Plan, gpus: Sequence[Gpu], fleet: Fleet | None, context: int) -> list[PlannedInstance]:
    """Return the instances. `context`: of those on which nothing lives."""
    order = {gpu.id: place for place, gpu in enumerate(gpus)}
    before = {frozenset(one.gpus): one for one in (fleet.instances if fleet else ())}
    kept = {frozenset(_ids(group)): before.get(frozenset(_ids(group))) for group in plan.groups}
    names = {one.name for one in kept.values() if one}
    ports = _ports(fleet, {one.port for one in kept.values() if one})
    return [_entry(group, kept[frozenset(_ids(group))], order, names, ports, context) for group in plan.groups]


def _ids(group: PlannedGroup) -> tuple[int | str, ...]:
    return tuple(gpu.id for gpu in group.gpus)


def _ports(fleet: Fleet | None, kept: set[int]) -> Iterator[int]:
    if fleet is None:
        return iter(count(FIRST_PORT))
    listeners = fleet.listeners
    own = {listeners.front, listeners.log, listeners.check, listeners.admin, listeners.door, listeners.again}
    own |= {listeners.peers, listeners.onward, *listeners.spop}
    taken = kept | {listen.port for listen in own}
    return (port for port in count(FIRST_PORT) if port not in taken)


def _entry(
    group: PlannedGroup,
    kept: Instance | None,
    order: dict[int | str, int],
    names: set[str],
    ports: Iterator[int],
    context: int,
) -> PlannedInstance:
    usual, slots = profile(group.wishes) if group.wishes else (context, USUAL_SLOTS)
    connections = sum(1 if wish.is_one_by_one else slots for wish in group.wishes)
    name = "gpu" + "-".join(str(order[gpu.id]) for gpu in group.gpus)
    while kept is None and name in names:
        name += "b"
    return PlannedInstance(
        name=kept.name if kept else name,
        url=kept.url if kept else f"http://127.0.0.1:{next(ports)}",
        gpus=_ids(group),
        num_parallel=slots,
        max_connections=max(slots, connections),
        context=usual,
        max_loaded=max(1, len(group.wishes)),
        replaces=kept,
    )


def rules(plan: Plan, wishes: Sequence[Wish], made: Sequence[PlannedInstance]) -> list[Rule]:
    """Return a rule for each model: pinned to where it lives; one without a home, to where it can be loaded in turn."""
    found = []
    for wish in wishes:
        homes = plan.homes.get(wish.model) or _in_turn(plan, wish, made)
        if homes:
            pins = () if len(homes) == len(made) else tuple(made[home].name for home in homes)
            found.append(Rule(wish.model, pins, wish.weights, _shape(wish), wish.latency))
    return found


def _in_turn(plan: Plan, wish: Wish, made: Sequence[PlannedInstance]) -> list[int]:
    """Return the groups that hold a model alone; those with its context, if there are any."""
    able = [number for number, group in enumerate(plan.groups) if group.room.holds([wish])]
    return [number for number in able if made[number].context >= wish.context] or able


def _shape(wish: Wish) -> dict[str, int]:
    shape = wish.shape
    if shape is None:
        return {}
    said = {
        "cache_per_token": shape.token_bytes,
        "windowed_cache_per_token": shape.windowed_bytes,
        "window": shape.window,
        "batch_per_token": shape.batch_bytes,
    }
    return {key: value for key, value in said.items() if value}


def called(wish: Wish) -> str:
    """Return a model's name for people."""
    return display(wish.model)
