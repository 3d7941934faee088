"""How many requests of a key run, and what a line on the log port that HAProxy did not write can change."""

import pytest

from spoe_agent.routing import InstanceLoad
from spoe_agent.routing.rights import Rights
from tests.rigs import HOLD, REJECT, ROUTE, Held

TWO = {"caller": "a", "rights": Rights("a", concurrent=2)}


def test_a_key_has_as_many_requests_as_it_may_running_and_held():
    rig = Held(slots=1)
    assert rig.ask("r1", "r2", **TWO) == [ROUTE, HOLD]
    assert rig.ask("r3", **TWO) == [REJECT]
    assert rig.ask("r4", caller="b", rights=Rights("b", concurrent=1)) == [HOLD]
    rig.agent.ended("r1")
    assert rig.names() == ["r2"]
    assert rig.ask("r5", "r6", **TWO) == [HOLD, REJECT]


def test_who_has_no_such_limit_is_not_counted():
    rig = Held(slots=1)
    assert rig.ask(*(f"r{n}" for n in range(5)), caller="a", rights=Rights("a")) == [ROUTE, *[HOLD] * 4]


@pytest.mark.parametrize("forged", ["r1", "made-up"])
def test_a_forged_line_gives_no_slot_away_that_haproxy_counts(forged):
    rig = Held(slots=1)
    alive = {"g0": InstanceLoad(1, 0, True)}
    assert rig.ask("r1", loads={"g0": InstanceLoad(0, 0, True)}) == [ROUTE]
    rig.agent.ended(forged)
    rig.clock.now_s += 60
    assert rig.ask("r2", loads=alive) == [HOLD]
