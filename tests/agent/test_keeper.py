"""What is touched, and that it is touched once."""

from dataclasses import replace

import pytest

from spoe_agent.agent.agent import Agent
from spoe_agent.agent.board import Board
from spoe_agent.agent.keeper import IDLE_S
from spoe_agent.routing import LoadedModel
from tests.routing.builders import A, fleet, state

WALL_S = 1.7e9


async def nothing():
    return None


class Rig:
    """An agent whose one instance has a model loaded that was asked for just before. Seconds from the first reading."""

    def __init__(self):
        self.now_s = 0.0
        self.agent = Agent(fleet("g0"), Board(), nothing, lambda: self.now_s)
        self.agent.learner.arrived(A, 0.0)

    def touches(self, at_s, ends_at_s):
        """Return what is touched at a reading that says when the model goes."""
        self.now_s = at_s
        one = LoadedModel(10, 10, 4096, WALL_S + ends_at_s)
        self.agent.published("g0", replace(state(), loaded={A: one}, loaded_at_s=at_s))
        return [(touch.instance, touch.model) for touch in self.agent.touches(WALL_S + at_s)]


def test_a_model_is_touched_once_until_readings_show_another_time():
    rig = Rig()

    assert rig.touches(0.0, 300.0) == rig.touches(270.0, 300.0) == []
    assert rig.touches(285.0, 300.0) == [("g0", A)]
    assert rig.touches(286.0, 300.0) == []
    assert rig.touches(287.0, 585.0) == []
    assert rig.touches(570.0, 585.0) == [("g0", A)]


@pytest.mark.parametrize(("keep_alive_s", "is_kept"), [(IDLE_S - 1, False), (IDLE_S + 10, True)])
def test_a_model_that_its_user_wanted_to_go_soon_goes(keep_alive_s, is_kept):
    rig = Rig()

    seen = [rig.touches(at_s, keep_alive_s) for at_s in range(int(keep_alive_s))]
    assert bool([touch for touch in seen if touch]) is is_kept
