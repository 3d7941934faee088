"""A scene on a screen: it fits whatever the fleet and the terminal, and the worst is seen."""

import time

import pytest

from spoe_agent.dashboard.scene import scene
from spoe_agent.top.screen import screen
from tests.dashboard.stage import Stage, busy


def seen(stage):
    now_s = time.monotonic()
    return scene(stage.status(now_s), stage.agent, now_s)


@pytest.mark.parametrize("size", [(80, 24), (200, 60), (40, 10)], ids=str)
@pytest.mark.parametrize("count", [1, 8, 64])
def test_it_fits(count, size):
    stage, (width, height) = Stage(count), size
    busy(stage)
    for name in stage.names[:7]:
        stage.dies(name)
    lines = [one.plain for one in screen(seen(stage), "", width, height)]
    assert len(lines) <= height
    assert all(len(one) <= width for one in lines)
    assert lines[0].startswith("pointsman live")
    assert lines[2].startswith("✕ gpu0: down: connection refused")


@pytest.mark.parametrize(("count", "name"), [(8, "gpu7"), (64, "gpu63")])
def test_the_whole_fleet_is_there_in_80_by_24(count, name):
    stage = Stage(count)
    busy(stage)
    assert any(name in one.plain for one in screen(seen(stage), "", 80, 24))


def test_an_old_scene_says_so():
    lines = [one.plain for one in screen(seen(Stage(1)), "connection refused", 80, 24)]
    assert lines[0].startswith("pointsman lost")
    assert lines[2] == "The agent does not answer: connection refused"


def test_who_waits_and_what_was_decided():
    stage = Stage(1)
    stage.reads("gpu0", "mistral:7b")
    for _ in range(9):
        stage.asks("mistral:7b")
    lines = [one.plain for one in screen(seen(stage), "", 120, 40)]
    assert sum(one.startswith("waits ") for one in lines) == 3
    assert "and 2 more wait" in lines
    assert any("gpu0" in one and one.endswith("it is loaded there") for one in lines)
