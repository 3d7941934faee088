"""An agent as `assemble` puts it together, on readings that tests publish, or that stand-ins of Ollamas give."""

import asyncio

from spoe_agent.agent.agent import Agent
from spoe_agent.agent.board import Board
from spoe_agent.agent.learner import Learner
from spoe_agent.assemble import Parts
from spoe_agent.fleet import HealthPolicy, specs
from spoe_agent.instances.ollamas import Ollamas
from spoe_agent.instances.watch import Watch


async def nothing():
    return None


async def healthy(instance, what, deadline_s):
    return ""


class Lists:
    """Stands in for an Ollama's API."""

    def __init__(self, loaded=None, installed=None):
        self.ps, self.tags = loaded or {}, installed or {}

    async def loaded(self):
        return self.ps

    async def installed(self):
        return self.tags

    async def version(self):
        return "0.33.0"

    async def unload(self, model):
        del self.ps[model]

    async def touch(self, model, context_length):
        pass

    async def shape(self, model):
        return None


class NoGpus:
    async def run(self):
        await asyncio.get_running_loop().create_future()

    def warnings(self):
        return []


def parts(fleet, clock, learner=None, unload=None, connect=lambda name: Lists()):
    """`connect` gives the stand-in of an instance that comes with an edit."""
    agent = Agent(specs(fleet), Board(), nothing, clock, learner or Learner(), unload)
    ollamas = Ollamas(lambda instance, _: connect(instance.name), clock)
    return Parts(fleet, agent, Watch(agent, HealthPolicy(), healthy, clock), ollamas, lambda _: NoGpus(), clock=clock)
