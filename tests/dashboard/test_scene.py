"""The scene: what is wrong, the worst first, and each decision in a line."""

import time

import pytest

from spoe_agent.admin.signs import faults
from spoe_agent.dashboard.scene import DECISIONS, MOST_HELD, scene
from tests.dashboard.stage import GIB, Stage


def seen(stage):
    now_s = stage.clock()
    return scene(stage.status(now_s, MOST_HELD), stage.agent, now_s)


def test_what_is_wrong_is_sorted_and_once_for_each_instance():
    stage = Stage(5)
    stage.reads("gpu0", "gemma2:27b", spilled=0.4)
    stage.telemetry("gpu0", foreign_bytes=14 * GIB)
    stage.dies("gpu3")
    stage.watch.drain("gpu4")
    stage.warnings.append("the fleet file was edited and cannot be used: fleet.yaml:1")
    found = seen(stage)["faults"]
    assert [(one["grade"], one["where"]) for one in found] == [("bad", "gpu3"), ("doubt", ""), ("doubt", "gpu0")]
    assert "gemma2:27b is partly on the CPU; other programs hold 14.0 GiB of GPU memory" in found[2]["what"]


def test_that_haproxy_asks_nobody_comes_first():
    stage = Stage(1)
    stage.dies("gpu0")
    said = stage.status(time.monotonic())
    said["haproxy"]["warning"] = "HAProxy asks no more"
    assert [one["what"] for one in faults(said)] == ["HAProxy asks no more", "down: connection refused"]


def test_a_load_has_its_time_left_and_its_memory():
    stage = Stage(1, clock=lambda: 1000.0)
    stage.asks("qwen2.5:32b", "gpu0")
    (load,) = seen(stage)["instances"][0]["loads"]
    assert (load["model"], load["slots"]) == ("qwen2.5:32b", 4)
    # A prior: 0.7 s, and 22 GiB at the disk's 1.4 GB/s.
    assert load["left_s"] == pytest.approx(0.7 + 22 * GIB / 1.4e9, rel=0.01)
    assert load["size_bytes"] > 22 * GIB


def test_decisions_in_words():
    stage = Stage(1)
    stage.reads("gpu0", "mistral:7b")
    first, _ = stage.asks("mistral:7b")
    for _ in range(4):
        stage.asks("mistral:7b")
    stage.asks("nobody-has-it")
    stage.ends(first, "gpu0", 0.2, is_whole=False)
    found = seen(stage)
    nobody, *_, broken = found["decisions"]
    assert (nobody["action"], nobody["grade"]) == ("reject", "bad")
    assert nobody["why"].startswith("404 not found: ")
    assert (broken["to"], broken["end"], broken["grade"]) == ("gpu0", "502 SH--", "bad")
    (held,) = [one for one in found["decisions"] if one["held_s"] is not None]
    assert (held["to"], held["why"]) == ("gpu0", "it is loaded there")
    assert "learned" not in found


def test_who_waits_and_why():
    stage = Stage(1)
    stage.reads("gpu0", "mistral:7b")
    for _ in range(5):
        stage.asks("mistral:7b")
    (waits,) = seen(stage)["hold"]["requests"]
    assert waits["why"] == "no slot is free. It waits least for gpu0: it is loaded there."


def test_of_many_who_wait_the_oldest_are_shown():
    stage = Stage(1)
    stage.reads("gpu0", "mistral:7b")
    for _ in range(4 + MOST_HELD + 5):
        stage.asks("mistral:7b")
    hold = seen(stage)["hold"]
    assert (hold["length"], len(hold["requests"])) == (MOST_HELD + 5, MOST_HELD)
    assert [one["id"] for one in hold["requests"]][:2] == ["r5", "r6"]
    assert len(stage.status(time.monotonic())["hold"]["requests"]) == MOST_HELD + 5


def test_decisions_are_few():
    stage = Stage(1)
    for _ in range(DECISIONS + 5):
        stage.asks("mistral:7b")
    assert len(seen(stage)["decisions"]) == DECISIONS
