import pytest

from bench import choose_cost
from bench.choose_cost import GOALS_US, SCENES, Measured, measure, missed
from spoe_agent.routing import Action, choose


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.name)
def test_each_scene_is_what_it_says_and_stays_so(scene):
    stage = choose_cost.Stage(scene, 8, 3)
    for _ in range(3):
        assert choose(stage.facts, stage.fleet, stage.snapshot()).tier is scene.tier
        decided = stage.agent.decide(stage.facts)
        assert decided.tier is scene.tier
        assert decided.action is (Action.HOLD if scene.name == "cold, victims busy" else Action.ROUTE)
        stage.settle()


def test_both_are_measured():
    found = measure(SCENES[0], 8, rounds=2)
    assert (found.scene, found.instances) == (SCENES[0].name, 8)
    assert min(found.choose_us, found.decide_us) > 0


def test_only_goals_that_are_not_met_are_named():
    rows = [Measured("s", size, goal_us + more, 0.0) for size, goal_us in GOALS_US.items() for more in (-1.0, 1.0)]
    rows.append(Measured("s", 32, 1e9, 0.0))
    assert missed(rows) == ["s: 61 us at 8 instances, goal 60", "s: 301 us at 64 instances, goal 300"]
