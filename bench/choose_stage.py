"""Fleets in the scenes in which `bench.choose_cost` has decisions made, and what happens between two of these."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import cycle
from uuid import uuid4

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
