"""What one decision costs: microseconds of `choose`, and of the agent's whole `decide`, by the size of the fleet.

Each figure is the least of many rounds, so that what else the machine does counts little. The collector is off, and
nothing is logged. Run it: python -m bench.choose_cost.
"""

from __future__ import annotations

import gc
import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from uuid import uuid4

import click
import structlog
from rich.console import Console
from rich.table import Table

from spoe_agent.agent.agent import Agent
from spoe_agent.agent.board import Board
from spoe_agent.agent.ending import Ending
from spoe_agent.agent.grant import Grant, Loading
from spoe_agent.agent.learner import Learner
from spoe_agent.routing import (
    Dialect,
    FleetSpec,
    Health,
    InstanceLoad,
    InstanceSpec,
    InstanceState,
    Kind,
    LoadedModel,
    ModelRule,
    Policy,
    RequestFacts,
    Snapshot,
    Tier,
    choose,
)
from spoe_agent.routing.estimates import GIB
from spoe_agent.routing.names import canonical

SIZES = (8, 16, 32, 64)
GOALS_US = {8: 60.0, 64: 300.0}
"""Of one `choose`."""

WANTED = canonical("llama3.1:8b")
OTHERS = tuple(canonical(name) for name in ("qwen3:8b", "gemma3:4b"))
SIZE_BYTES = 5 * GIB
REQUEST_ID = "5f0c6c1e-0000-4000-8000-000000000000"


@dataclass(frozen=True, slots=True)
class Scene:
    """A situation of the whole fleet."""

    name: str
    loaded: tuple[str, ...]
    """On every instance."""
    in_flight: int
    """Requests for each loaded model on every instance."""
    tier: Tier
    """How the request is answered."""


SCENES = (
    Scene("idle and warm", (WANTED, *OTHERS), 0, Tier.LOADED),
    Scene("busy and warm", (WANTED, *OTHERS), 2, Tier.LOADED),
    Scene("room for a load", OTHERS[:1], 2, Tier.ROOM),
    Scene("cold, must evict", OTHERS, 0, Tier.EVICT),
    Scene("cold, victims busy", OTHERS, 2, Tier.EVICT),
)


@dataclass(frozen=True, slots=True)
class Measured:
    """One scene at one size."""

    scene: str
    instances: int
    choose_us: float
    decide_us: float


class Stage:
    """A fleet in a scene, held still in time."""

    def __init__(self, scene: Scene, size: int, models: int) -> None:
        self.now_s = 1000.0
        self.scene = scene
        more = (canonical(f"model-{number}") for number in range(models - len(OTHERS) - 1))
        # One mapping for all, as the agent has it where a store is shared.
        self._installed = dict.fromkeys((WANTED, *OTHERS, *more), SIZE_BYTES)
        self.fleet = _fleet(size)
        self.board = Board()
        load = InstanceLoad(scene.in_flight * len(scene.loaded), 0, is_up=True)
        loads = {one.name: load for one in self.fleet.instances}
        self.facts = RequestFacts(REQUEST_ID, Kind.INFERENCE, Dialect.OLLAMA, WANTED, loads=loads, body_bytes=2000)
        for one in self.fleet.instances:
            self.board.publish(one.name, self._reading())
            for model in scene.loaded * scene.in_flight:
                self.board.grant(Grant(f"{one.name} {model} {self.board.grants}", one.name, model, 0.0))
        self.agent = Agent(self.fleet, self.board, _nothing_new, lambda: self.now_s, _experienced(self.fleet, scene))

    def settle(self) -> None:
        """Have everything read anew: nothing loads, nothing is in flight but what the scene says."""
        self.agent.ended(self.facts.request_id)
        # Another request: nothing is decided for one that has ended.
        self.facts = replace(self.facts, request_id=str(uuid4()))
        self.now_s += 0.2
        for one in self.fleet.instances:
            self.agent.published(one.name, self._reading())
        self.agent.learner.learned(self.now_s)

    def _reading(self) -> InstanceState:
        return InstanceState(
            health=Health.UP,
            loaded={model: LoadedModel(SIZE_BYTES, SIZE_BYTES, 2048) for model in self.scene.loaded},
            loaded_at_s=self.now_s,
            installed=self._installed,
            installed_at_s=self.now_s,
            version="0.33.0",
        )

    def snapshot(self) -> Snapshot:
        """Return what `choose` gets."""
        return self.board.snapshot(self.facts.loads, self.now_s, self.agent.learner.learned(self.now_s))


def _fleet(size: int) -> FleetSpec:
    specs = tuple(
        InstanceSpec(f"gpu{number}", 64, num_parallel=4, vram_bytes=14 * GIB, context_length=2048)
        for number in range(size)
    )
    rules = (ModelRule("hf.co/*", instances=("gpu0",)), ModelRule("*:70b", num_parallel=1))
    return FleetSpec(specs, rules, Policy(hold_s=60.0))


def _experienced(fleet: FleetSpec, scene: Scene) -> Learner:
    """Return a learner that has seen every model on every instance."""
    learner = Learner()
    for model in {WANTED, *scene.loaded}:
        learner.arrived(model, 0.0)
        for one in fleet.instances:
            loading = Loading(one.store, SIZE_BYTES, is_cached=True, begins_s=0.0)
            learner.ended(Grant("warm", one.name, model, 0.0, Tier.LOADED), Ending(0.3, 4.0, is_whole=True))
            cold = Grant("cold", one.name, model, 0.0, Tier.ROOM, loading=loading)
            learner.ended(cold, Ending(6.0, 10.0, is_whole=True))
    return learner


async def _nothing_new() -> None:
    """Lists are always current here."""


@contextmanager
def _without_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _least_us(rounds: int, once: Callable[[], object], after: Callable[[], None]) -> float:
    """Return the microseconds that `once` takes, in the best round."""
    best_s = float("inf")
    with _without_collector():
        for _ in range(rounds):
            start_s = time.perf_counter()
            once()
            best_s = min(best_s, time.perf_counter() - start_s)
            after()
    return best_s * 1e6


def measure(scene: Scene, size: int, rounds: int, models: int = len(OTHERS) + 1) -> Measured:
    """Time one scene at one size. `models`: installed on every instance."""
    stage = Stage(scene, size, models)
    snapshot = stage.snapshot()
    expected = choose(stage.facts, stage.fleet, snapshot)
    if expected.tier is not scene.tier:
        raise AssertionError(f"{scene.name} is not what it says, but {expected.reason}")
    return Measured(
        scene.name,
        size,
        _least_us(rounds, lambda: choose(stage.facts, stage.fleet, snapshot), lambda: None),
        _least_us(rounds, lambda: stage.agent.decide(stage.facts), stage.settle),
    )


def missed(measured: list[Measured]) -> list[str]:
    """Return the goals that were not met, in words."""
    found = []
    for row in measured:
        goal_us = GOALS_US.get(row.instances)
        if goal_us is not None and row.choose_us > goal_us:
            found.append(f"{row.scene}: {row.choose_us:.0f} us at {row.instances} instances, goal {goal_us:.0f}")
    return found


@click.command()
@click.option("--rounds", default=500, show_default=True, help="Rounds of each figure; the best one counts.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of a table.")
def main(rounds: int, as_json: bool) -> None:
    """Print what a decision costs."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(20))
    measured = [measure(scene, size, rounds) for scene in SCENES for size in SIZES]
    if as_json:
        click.echo(json.dumps({"rows": [asdict(row) for row in measured], "missed": missed(measured)}))
        return
    table = Table("scene", "instances", "choose us", "per instance", "decide us", title="one decision")
    for row in measured:
        per_us = row.choose_us / row.instances
        table.add_row(row.scene, str(row.instances), f"{row.choose_us:.1f}", f"{per_us:.2f}", f"{row.decide_us:.1f}")
    Console(width=None if sys.stdout.isatty() else 100).print(table)
    for line in missed(measured):
        click.echo(f"missed: {line}")


if __name__ == "__main__":
    main()
