"""Agents on real boards, with a clock of the test's own."""

import asyncio

from spoe_agent.agent.agent import Agent
from spoe_agent.agent.board import Board
from spoe_agent.routing import (
    Action,
    Dialect,
    FleetSpec,
    Health,
    InstanceSpec,
    InstanceState,
    Kind,
    LoadedModel,
    Policy,
    Reason,
    RequestFacts,
)
from spoe_agent.routing.names import canonical

A, B, NEW, CLOUD = (canonical(name) for name in ("a", "b", "new", "big:cloud"))
FLEET = FleetSpec((InstanceSpec("g0", 100), InstanceSpec("g1", 100)))
HOLD_S = 60.0
ROUTE, HOLD, REJECT = Action


class Clock:
    def __init__(self):
        self.now_s = 100.0

    def __call__(self):
        return self.now_s


class Rig:
    """An agent on a real board; `pulled` are models that the instances list only when asked anew."""

    def __init__(self, pulled=(), **more):
        self.clock, self.board, self.pulled, self.refreshed = Clock(), Board(), pulled, 0
        self.answers = asyncio.Event()
        self.answers.set()
        self.agent = Agent(FLEET, self.board, self.refresh, self.clock, **more)
        self.publish(A)

    def publish(self, *installed, loaded=()):
        for name in ("g0", "g1"):
            models = {model: LoadedModel(1, 1) for model in loaded}
            lists = dict.fromkeys(installed, 1)
            self.board.publish(name, InstanceState(Health.UP, models, self.clock(), lists, self.clock()))

    async def refresh(self):
        self.refreshed += 1
        await self.answers.wait()
        self.publish(A, *self.pulled)

    def in_flight(self):
        activity = self.board.snapshot({}, self.clock()).activity
        return {name: dict(one.in_flight) for name, one in activity.items() if one.in_flight}


def asks(model=A, kind=Kind.INFERENCE, request_id="r1", **fields):
    return RequestFacts(request_id, kind, Dialect.OLLAMA, model, **fields)


class Held(Rig):
    """An agent that holds, over one instance with A and B loaded and `slots` for each; notes what is granted."""

    def __init__(self, slots=1, rules=(), instances=("g0",), loaded=(A, B), contexts=0, **policy):
        super().__init__()
        self.contexts = contexts
        specs = tuple(InstanceSpec(name, 100, num_parallel=slots) for name in instances)
        fleet = FleetSpec(specs, tuple(rules), Policy(hold_s=HOLD_S, **policy))
        self.board = Board()
        self.agent = Agent(fleet, self.board, self.refresh, self.clock)
        self.granted, self.gone = [], []
        for name in instances:
            self.read(name, *loaded)

    def read(self, name, *loaded):
        models = dict.fromkeys(loaded, LoadedModel(1, 1, self.contexts))
        state = InstanceState(Health.UP, models, self.clock(), {A: 1, B: 1}, self.clock())
        self.agent.published(name, state)

    def ask(self, *ids, **fields):
        """Decide these requests, and wait for those that are held; return what is done with each."""
        actions = []
        for one in ids:
            actions.append(self.agent.decide(asks(request_id=one, **fields)).action)
            self.agent.ask(one, self.told)
        return actions

    def told(self, choice, facts):
        if choice.reason is Reason.CLIENT_LEFT:
            self.gone.append(facts.request_id)
        else:
            self.granted.append((facts.request_id, choice))

    def names(self):
        return [name for name, _ in self.granted]
