"""An agent as `serve` puts it together, on readings that tests publish."""

from spoe_agent.agent import Agent
from spoe_agent.fleet import specs
from spoe_agent.serve import Parts
from spoe_agent.telemetry.board import Board
from spoe_agent.telemetry.health import HealthPolicy
from spoe_agent.telemetry.learner import Learner
from spoe_agent.watch.watch import Watch


async def nothing():
    return None


async def healthy(instance, what, deadline_s):
    return ""


def parts(fleet, clock, learner=None, unload=None):
    board = Board()
    agent = Agent(specs(fleet), board, nothing, clock, learner or Learner(), unload)
    return Parts(agent, board, (), Watch(agent, HealthPolicy(), healthy, clock))
