"""A whole agent to be scraped: real parts of two instances with GPUs, and a clock of the test's own."""

from prometheus_client.parser import text_string_to_metric_families

from spoe_agent.agent.agent import Agent
from spoe_agent.agent.board import Board
from spoe_agent.agent.ending import Ending, Line
from spoe_agent.fleet import HealthPolicy, loads, specs
from spoe_agent.gpus.board import GpuBoard
from spoe_agent.gpus.reading import GpuReading
from spoe_agent.haproxy.contact import Contact
from spoe_agent.haproxy.limiter import Limiter
from spoe_agent.instances.lists import InstalledModel
from spoe_agent.instances.reading import Reading
from spoe_agent.instances.watch import Watch
from spoe_agent.metrics.exposition import Exposition
from spoe_agent.routing import Dialect, Kind, LoadedModel, RequestFacts
from spoe_agent.routing.names import canonical

A, B = canonical("a"), canonical("b")
FLEET = """
defaults: {num_parallel: 2, ollama: {max_loaded_models: 1}}
policies: {hold_timeout: 60s}
instances:
  - {name: g0, url: "http://127.0.0.1:11435"}
  - {name: g1, url: "http://127.0.0.1:11436"}
models: [{match: b, priority: 5}]
"""


class Clock:
    def __init__(self):
        self.now_s = 100.0

    def __call__(self):
        return self.now_s


class Gpus:
    """One GPU of g0's, from a source that answers."""

    def __init__(self):
        self.board = GpuBoard(["nvidia"])

    def read(self, **fields):
        self.board.publish("nvidia", [GpuReading("GPU-0", "NVIDIA H200", **fields)])

    def seats(self):
        return {"g0": ("GPU-0",)}

    def orphans(self):
        return {7: 3 << 30}


class Rig:
    """`a` is loaded on g0; nobody has `b` loaded."""

    def __init__(self, fleet=FLEET):
        self.clock, self.gpus = Clock(), Gpus()
        self.agent = Agent(specs(loads(fleet)), Board(), self.nothing, self.clock)
        self.watch = Watch(self.agent, HealthPolicy(), self.healthy, self.clock)
        self.contact = Contact(self.clock, self.clock, lambda _: None)
        self.read("g0", A)
        self.read("g1")
        self.limiter = Limiter(loads(fleet), self.agent, self.watch, self.clock)
        self.exposition = Exposition(self, self.limiter, self.contact, self.clock)

    def read(self, name, *loaded):
        models = dict.fromkeys(loaded, LoadedModel(10, 8))
        installed = dict.fromkeys((A, B), InstalledModel(10))
        self.watch.published(name, Reading(self.clock(), loaded=models, installed=installed, version="0.33.0"))

    async def nothing(self):
        pass

    async def healthy(self, instance, what, deadline_s):
        return ""

    def ask(self, request_id, model="a", **fields):
        return self.agent.decide(RequestFacts(request_id, Kind.INFERENCE, Dialect.OLLAMA, **fields).naming(model))

    def end(self, request_id, server, first_byte_s, total_s, is_whole=True, **fields):
        line = Line(request_id, server, Ending(first_byte_s, total_s, is_whole), kind=Kind.INFERENCE, **fields)
        self.contact.ended(line)
        self.watch.ended(line)

    async def families(self):
        """Scrape, and return the metrics by their names in the text."""
        page = (await self.exposition.page()).decode()
        found = list(text_string_to_metric_families(page))
        return {f"{one.name}_total" if one.type == "counter" else one.name: one for one in found}

    async def value(self, sample, **labels):
        """Scrape, and return the value of one sample; None when there is none."""
        for family in (await self.families()).values():
            for one in family.samples:
                if one.name == sample and one.labels == labels:
                    return one.value
        return None
