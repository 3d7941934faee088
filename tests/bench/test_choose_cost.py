from dataclasses import astuple

import pytest

from bench.choose_cost import CHOOSE, GOALS_US, Measured, measure, missed
from bench.choose_stage import SCENES, Stage
from spoe_agent.routing import Action

each_scene = pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.name)


@each_scene
def test_each_scene_is_what_it_says_and_stays_so_whatever_happens_between(scene):
    stage = Stage(scene, 8, 3)
    for happens in (stage.look, stage.grant, stage.load, stage.load, stage.grant, stage.end, stage.settle) * 3:
        happens()
        assert stage.choose().tier is stage.choose_anew().tier is scene.tier


@each_scene
@pytest.mark.parametrize("happens", [Stage.end, Stage.settle])
def test_the_agent_decides_the_same_again_and_again(scene, happens):
    stage = Stage(scene, 8, 3)
    for _ in range(3):
        decided = stage.agent.decide(stage.facts)
        assert decided.tier is scene.tier
        assert decided.action is (Action.HOLD if scene.name == "cold, victims busy" else Action.ROUTE)
        happens(stage)
        assert (stage.board.grants, len(stage.agent.hold)) == (8 * len(scene.loaded) * scene.in_flight, 0)


def test_what_is_granted_between_ends_again():
    stage = Stage(SCENES[1], 8, 3)
    before = stage.board.grants
    for happens, more in ((stage.grant, 1), (stage.grant, 1), (stage.load, 0), (stage.load, 1), (stage.load, 0)):
        happens()
        loads = stage.facts.loads.values()
        assert stage.board.grants == before + more == sum(load.connections for load in loads)
        assert sum(bool(stage.board.activity(name).leaving) for name in stage.facts.loads) == (
            more if happens == stage.load else 0
        )


def test_each_is_measured():
    name, size, *figures = astuple(measure(SCENES[0], 8, rounds=2))
    assert (name, size) == (SCENES[0].name, 8)
    assert min(figures) > 0


def test_only_goals_that_are_not_met_are_named():
    rows = [
        Measured("s", size, *[goal_us + more] * len(CHOOSE), decide=1e9, decide_anew=1e9)
        for size, goal_us in GOALS_US.items()
        for more in (-1.0, 1.0)
    ]
    rows.append(Measured("s", 32, *[1e9] * len(CHOOSE), decide=1e9, decide_anew=1e9))
    assert missed(rows) == [
        f"s, {since}: {goal_us + 1:.0f} us at {size} instances, goal {goal_us:.0f}"
        for size, goal_us in GOALS_US.items()
        for since in CHOOSE
    ]
