"""What the agent knows, as a row: each store's models once, whoever shares it."""

from collections.abc import Mapping

import pytest

from spoe_agent.agent.agent import Agent
from spoe_agent.agent.board import Board
from spoe_agent.agent.learner import Mean
from spoe_agent.decisions.known import known
from spoe_agent.routing import FleetSpec, Health, InstanceSpec, InstanceState
from tests.rigs import A, B, Clock


class Listed(Mapping):
    """A list of models that counts how often it is gone through."""

    def __init__(self, **sizes):
        self.sizes, self.readings = sizes, 0

    def __getitem__(self, model):
        return self.sizes[model]

    def __len__(self):
        return len(self.sizes)

    def __iter__(self):
        self.readings += 1
        return iter(self.sizes)


def agent(lists):
    """Return an agent of one instance for each list, in a store by its name's first letter."""
    board, clock = Board(), Clock()
    for name, listed in lists.items():
        board.publish(name, InstanceState(Health.UP, {}, clock(), listed, clock()))
    specs = tuple(InstanceSpec(name, 100, store=name[0]) for name in lists)
    return Agent(FleetSpec(specs), board, None, clock)


def test_a_list_that_instances_share_is_gone_through_once():
    shared, other, own = Listed(**{A: 1}), Listed(**{A: 1, B: 2}), Listed(**{B: 3})
    row = known(agent({**{f"s{number}": shared for number in range(64)}, "s64": other, "t": own}), 1000.0)
    readings = shared.readings, other.readings, own.readings
    assert row["stores"] == {"s": {"a:latest": 1, "b:latest": 2}, "t": {"b:latest": 3}}
    assert readings == (1, 1, 1)


def test_what_was_learned_of_the_disk_says_of_how_many_loads():
    it = agent({"s": Listed()})
    it.learner.from_disk["s"] = Mean(0.0, 3)
    assert known(it, 1000.0)["learned"]["from_disk"] == {"s": [pytest.approx(1.0), 3]}
