"""What one decision costs: microseconds of `choose`, and of the agent's whole `decide`, by the size of the fleet and by
what happened since the decision before it.

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
from dataclasses import asdict, astuple, dataclass
from itertools import cycle
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
    Choice,
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
    Tier,
    choose,
)
from spoe_agent.routing.estimates import GIB
from spoe_agent.routing.memo import Memo
from spoe_agent.routing.names import canonical

SIZES = (8, 16, 32, 64)
GOALS_US = {8: 60.0, 64: 300.0}
"""Of one `choose`, whatever happened before."""

WANTED = canonical("llama3.1:8b")
OTHERS = tuple(canonical(name) for name in ("qwen3:8b", "gemma3:4b"))
SIZE_BYTES = 5 * GIB


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
    differs: float = 0.0
    """By what part the slowest instance's requests take longer than the fastest one's, as far as was learned."""


SCENES = (
    Scene("idle and warm", (WANTED, *OTHERS), 0, Tier.LOADED),
    Scene("busy and warm", (WANTED, *OTHERS), 2, Tier.LOADED),
    Scene("the same, some slower", (WANTED, *OTHERS), 2, Tier.LOADED, 0.2),
    Scene("room for a load", OTHERS[:1], 2, Tier.ROOM),
    Scene("cold, must evict", OTHERS, 0, Tier.EVICT),
    Scene("cold, victims busy", OTHERS, 2, Tier.EVICT),
)


@dataclass(frozen=True, slots=True)
class Measured:
    """One scene at one size: microseconds, by what happened since the decision before."""

    scene: str
    instances: int
    anew: float
    """`choose`, when there was none: nothing is kept."""
    learned: float
    """`choose`, when times were learned anew, as twice a second."""
    load: float
    """`choose`, when a load began, for which another model goes, or ended."""
    grant: float
    """`choose`, when one request was granted and another ended."""
    nothing: float
    """`choose`, when nothing happened."""
    decide: float
    """`decide`, when the request before it has ended, and its instance was read anew."""
    decide_anew: float
    """`decide`, when all was learned and read anew."""


class Stage:
    """A fleet in a scene; between decisions little happens to it."""

    def __init__(self, scene: Scene, size: int, models: int) -> None:
        self.now_s = 1000.0
        self.scene = scene
        more = (canonical(f"model-{number}") for number in range(models - len(OTHERS) - 1))
        # One mapping for all, as the agent has it where a store is shared.
        self._installed = dict.fromkeys((WANTED, *OTHERS, *more), SIZE_BYTES)
        self.fleet = _fleet(size)
        self.board = Board()
        self._counts = {one.name: scene.in_flight * len(scene.loaded) for one in self.fleet.instances}
        self._turns = cycle(one.name for one in self.fleet.instances)
        self._extra: Grant | None = None
        for one in self.fleet.instances:
            self.board.publish(one.name, self._reading())
            for model in scene.loaded * scene.in_flight:
                self.board.grant(Grant(f"{one.name} {model} {self.board.grants}", one.name, model, 0.0))
        self.agent = Agent(self.fleet, self.board, _nothing_new, lambda: self.now_s, _experienced(self.fleet, scene))
        self.memo = Memo()
        self.look()

    def look(self) -> None:
        """Another request comes, with counts of its own."""
        loads = {name: InstanceLoad(number, 0, is_up=True) for name, number in self._counts.items()}
        about = Kind.INFERENCE, Dialect.OLLAMA, WANTED
        self.facts = RequestFacts(str(uuid4()), *about, loads=loads, servers=loads, body_bytes=2000)
        learned = self.agent.learner.learned(self.now_s)
        self.snapshot = self.board.snapshot(self.facts.loads, self.now_s, learned)

    def grant(self) -> None:
        """A request is granted to the next instance, for a model that it has; and the last such one ends."""
        self._end_extra()
        self._enter_extra(self.scene.loaded[-1])
        self.look()

    def load(self) -> None:
        """A load begins for which a model goes; or the last such one has ended, with the old model back."""
        if not self._end_extra():
            self._enter_extra(canonical("another"), OTHERS[:1])
        self.look()

    def _enter_extra(self, model: str, victims: tuple[str, ...] = ()) -> None:
        self.now_s += 1e-4
        name = next(self._turns)
        self._extra = Grant("extra", name, model, self.now_s)
        self._counts[name] += 1
        self.board.grant(self._extra, victims)

    def _end_extra(self) -> bool:
        """End what was granted in between, and tell whether there was anything."""
        extra, self._extra = self._extra, None
        if extra is None:
            return False
        self.board.end(extra.request_id)
        self._counts[extra.instance] -= 1
        if self.board.activity(extra.instance).loading:
            self.now_s += 0.2
            self.board.publish(extra.instance, self._reading())
        return True

    def learn(self) -> None:
        """Half a second has gone."""
        self.now_s += 0.5
        self.look()

    def end(self) -> None:
        """What was decided has come to its end, and its instance is read anew."""
        grant = self.board.find(self.facts.request_id)
        self.agent.ended(self.facts.request_id)
        if grant is not None:
            self.now_s += 0.15
            self.agent.published(grant.instance, self._reading())
        self.look()

    def settle(self) -> None:
        """Have everything read and learned anew: nothing loads, nothing is in flight but what the scene says."""
        self.agent.ended(self.facts.request_id)
        self.now_s += 1.0
        for one in self.fleet.instances:
            self.agent.published(one.name, self._reading())
        self.look()

    def _reading(self) -> InstanceState:
        return InstanceState(
            health=Health.UP,
            loaded={model: LoadedModel(SIZE_BYTES, SIZE_BYTES, 2048) for model in self.scene.loaded},
            loaded_at_s=self.now_s,
            installed=self._installed,
            installed_at_s=self.now_s,
            version="0.33.0",
        )

    def choose(self) -> Choice:
        """Decide as the agent does, with what was worked out before."""
        return choose(self.facts, self.fleet, self.snapshot, self.memo)

    def choose_anew(self) -> Choice:
        """Decide as if there had been no decision before."""
        return choose(self.facts, self.fleet, self.snapshot)


def _fleet(size: int) -> FleetSpec:
    specs = tuple(
        InstanceSpec(f"gpu{number}", 64, num_parallel=4, vram_bytes=14 * GIB, context_length=2048)
        for number in range(size)
    )
    rules = (ModelRule("hf.co/*", instances=("gpu0",)), ModelRule("*:70b", num_parallel=1))
    # Readings come when a scene has them come, and prove what they say until then.
    return FleetSpec(specs, rules, Policy(hold_s=60.0, max_age_s=1e9))


def _experienced(fleet: FleetSpec, scene: Scene) -> Learner:
    """Return a learner that has seen every model on every instance often."""
    learner = Learner()
    for popularity, model in enumerate(dict.fromkeys((WANTED, *scene.loaded)), 1):
        for _ in range(popularity):
            learner.arrived(model, 0.0)
        for number, one in enumerate(fleet.instances):
            slower = 1 + scene.differs * number / len(fleet.instances)
            loading = Loading(one.store, SIZE_BYTES, is_cached=True, begins_s=0.0)
            warm = Grant("warm", one.name, model, 0.0, Tier.LOADED)
            for _ in range(30):
                learner.ended(warm, Ending(0.3 * slower, 4.0 * slower, is_whole=True))
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


def _least_us(rounds: int, before: Callable[[], None], once: Callable[[], object]) -> float:
    """Return the microseconds that `once` takes, in the best round; each has `before` before it."""
    best_s = float("inf")
    with _without_collector():
        for _ in range(rounds):
            before()
            start_s = time.perf_counter()
            once()
            best_s = min(best_s, time.perf_counter() - start_s)
    return best_s * 1e6


def measure(scene: Scene, size: int, rounds: int, models: int = len(OTHERS) + 1) -> Measured:
    """Time one scene at one size. `models`: installed on every instance."""
    stage = Stage(scene, size, models)
    expected = stage.choose()
    if expected.tier is not scene.tier:
        raise AssertionError(f"{scene.name} is not what it says, but {expected.reason}")
    return Measured(
        scene.name,
        size,
        _least_us(rounds, stage.look, stage.choose_anew),
        _least_us(rounds, stage.learn, stage.choose),
        _least_us(rounds, stage.load, stage.choose),
        _least_us(rounds, stage.grant, stage.choose),
        _least_us(rounds, stage.look, stage.choose),
        _least_us(rounds, stage.end, lambda: stage.agent.decide(stage.facts)),
        _least_us(rounds, stage.settle, lambda: stage.agent.decide(stage.facts)),
    )


CHOOSE = ("anew", "learned", "load", "grant", "nothing")
"""What is measured of `choose`."""


def missed(measured: list[Measured]) -> list[str]:
    """Return the goals that were not met, in words."""
    found = []
    for row in measured:
        goal_us = GOALS_US.get(row.instances, float("inf"))
        for since in CHOOSE:
            took_us = getattr(row, since)
            if took_us > goal_us:
                found.append(f"{row.scene}, {since}: {took_us:.0f} us at {row.instances} instances, goal {goal_us:.0f}")
    return found


@click.command()
@click.option("--rounds", default=500, show_default=True, help="Rounds of each figure; the best one counts.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of a table.")
def main(rounds: int, as_json: bool) -> None:
    """Print what a decision costs, by what happened since the one before it."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(20))
    measured = [measure(scene, size, rounds) for scene in SCENES for size in SIZES]
    if as_json:
        click.echo(json.dumps({"rows": [asdict(row) for row in measured], "missed": missed(measured)}))
        return
    columns = *(f"choose: {since}" for since in CHOOSE), "decide: grant", "decide: anew"
    table = Table("scene", "instances", *columns, title="microseconds of one decision, by what happened before it")
    for row in measured:
        scene, size, *figures = astuple(row)
        table.add_row(scene, str(size), *(f"{figure:.0f}" for figure in figures))
    Console(width=None if sys.stdout.isatty() else 120).print(table)
    for line in missed(measured):
        click.echo(f"missed: {line}")


if __name__ == "__main__":
    main()
