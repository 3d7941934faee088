"""What HAProxy is told of an instance's limit when several of its processes share it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spoe_agent.agent.agent import Agent
from spoe_agent.agent.board import Board
from spoe_agent.agent.grant import Grant
from spoe_agent.agent.settings import Started
from spoe_agent.fleet import HealthPolicy, loads, specs
from spoe_agent.haproxy.limiter import Limiter
from spoe_agent.instances.watch import Watch
from spoe_agent.routing import Health, InstanceState
from spoe_agent.routing.names import canonical

LIMIT = 12


def limiter(streams, hold_timeout="0s"):
    """One over an instance that has these numbers of streams, by process."""
    fleet = loads(f"""
instances: [{{name: g0, url: "http://127.0.0.1:11435", num_parallel: 4, max_connections: {LIMIT}}}]
policies: {{hold_timeout: {hold_timeout}, limits: {{follow: true, floor: {LIMIT}}}}}
""")

    async def nothing(*_):
        return ""

    board = Board()
    agent = Agent(specs(fleet), board, nothing, clock=lambda: 0.0)
    board.publish("g0", InstanceState(Health.UP))
    for process, number in streams.items():
        for one in range(number):
            board.grant(Grant(f"{process}-{one}", "g0", canonical("a"), 0.0, process=process))
    return Limiter(fleet, agent, Watch(agent, HealthPolicy(), nothing, lambda: 0.0), lambda: 0.0)


def told(streams, hold_timeout="0s"):
    return int(limiter(streams, hold_timeout).answer("g0").rpartition(":")[2])


def test_where_requests_are_held_each_is_told_the_whole_limit():
    """The agent grants no more to all of them, and what it grants must not wait until HAProxy asks again."""
    assert told({"old": 8, "new": 4}, "60s") == LIMIT


@pytest.mark.parametrize(
    ("streams", "maxconn"),
    [
        ({}, LIMIT),
        ({"old": 8}, LIMIT),
        ({"old": 8, "new": 1}, LIMIT - 1),
        ({"old": 8, "new": 4}, LIMIT - 4),
        ({"old": 2, "new": 10}, LIMIT - 2),
        ({"one": 4, "two": 4, "three": 4}, LIMIT - 8),
    ],
)
def test_where_they_are_not_the_limit_is_shared(streams, maxconn):
    assert told(streams) == maxconn


@given(st.dictionaries(st.sampled_from("abcd"), st.integers(0, 30), max_size=4))
def test_nobody_is_cut_below_what_it_has(streams):
    maxconn = told(streams)
    assert maxconn >= 1  # 0 would be no limit
    if sum(streams.values()) <= LIMIT:
        assert maxconn >= max(streams.values(), default=0)


def test_an_agent_that_leaves_tells_what_the_file_says():
    it = limiter({"old": 8, "new": 4})
    it.leave()
    assert it.answer("g0") == f"up ready 100% maxconn:{LIMIT}"


@pytest.mark.parametrize(
    ("keys", "follow", "maxconn"),
    [
        ("num_parallel: 1", "true", 12),
        ("num_parallel: 1, max_connections: 3", "true", 3),
        ("num_parallel: 1", "false", 3),
    ],
)
def test_slots_that_the_file_does_not_know_are_told_unless_the_file_limits_connections(keys, follow, maxconn):
    fleet = loads(f"""
instances: [{{name: g0, url: "http://127.0.0.1:11435", {keys}}}]
policies: {{limits: {{follow: {follow}, floor: 1000}}}}
""")

    async def nothing(*_):
        return ""

    agent = Agent(specs(fleet), Board(), nothing, clock=lambda: 0.0)
    of = Limiter(fleet, agent, Watch(agent, HealthPolicy(), nothing, lambda: 0.0), lambda: 0.0)
    agent.settings.started("g0", Started(num_parallel=4))
    agent.tick()
    of.follow()
    assert of.answer("g0").endswith(f"maxconn:{maxconn}")
    spec = agent.fleet.instances[0]
    assert (spec.num_parallel, spec.max_connections) == (4, maxconn)
