"""Two watched instances, with a clock and probes of the test's own."""

from spoe_agent.agent.agent import Agent
from spoe_agent.agent.board import Board
from spoe_agent.agent.ending import Ending, Line
from spoe_agent.fleet import HealthPolicy, loads, specs
from spoe_agent.instances.lists import InstalledModel
from spoe_agent.instances.reading import PollResult, Reading
from spoe_agent.instances.watch import Watch
from spoe_agent.routing import Dialect, Kind, LoadedModel, RequestFacts
from spoe_agent.routing.names import canonical

FLEET = """
defaults: {num_parallel: 2}
instances:
  - {name: g0, url: "http://127.0.0.1:11435"}
  - {name: g1, url: "http://127.0.0.1:11436"}
policies: {hold_timeout: 0}
"""

A, B = canonical("a"), canonical("b")

WELL, NONE = Ending(0.5, 2.0, is_whole=True), Ending(-0.001, -0.001, is_whole=False)

EARLY, BEGUN = Ending(0.002, 0.003, is_whole=False), Ending(0.5, 1.0, is_whole=False)


class Clock:
    def __init__(self):
        self.now_s = 100.0

    def __call__(self):
        return self.now_s


class Bench:
    """Two instances, `a` loaded on g0 only; probes answer what `outcome` says."""

    def __init__(self):
        self.clock, self.board, self.outcome, self.probed = Clock(), Board(), "", []
        self.agent = Agent(specs(loads(FLEET)), self.board, self.nothing, clock=self.clock)
        self.listed = []
        policy = HealthPolicy(stall=10.0, load_stall=20.0)
        self.watch = Watch(self.agent, policy, self.probe, self.clock, self.listed.append)
        self.poll("g0", {A: LoadedModel(1, 1)})
        self.poll("g1", {})

    async def nothing(self):
        pass

    async def probe(self, instance, what, deadline_s):
        self.probed.append((instance, what.model, what.is_cold))
        return self.outcome

    def poll(self, name, loaded):
        self.watch.published(
            name, Reading(self.clock(), loaded=loaded, installed={A: InstalledModel(10), B: InstalledModel(20)})
        )

    def fail(self, name, outcome, why):
        self.watch.published(name, Reading(self.clock(), outcome, why))

    def refuse(self, name):
        """So many polls that it is down."""
        for _ in range(2):
            self.fail(name, PollResult.REFUSED, "refused")

    def ask(self, number, model="a"):
        return self.agent.decide(RequestFacts(f"r{number}", Kind.INFERENCE, Dialect.OLLAMA).naming(model))

    def end(self, number, server="g0", ending=WELL, **more):
        return self.watch.ended(Line(f"r{number}", server, ending, **more))

    def fail_twice(self):
        for number in ("first", "second"):
            assert self.ask(number).instance == "g0"
            self.end(number, ending=EARLY, status=500)

    def relisted(self, server, kind, status):
        self.watch.ended(Line("r0", server, NONE, status, kind=kind))
        return self.listed

    def later(self, seconds):
        self.clock.now_s += seconds
        self.watch.look()

    async def probe_all(self):
        for health in self.watch.due():
            await self.watch.probe(health)

    def state(self, name="g0"):
        return self.watch.health[name].state
