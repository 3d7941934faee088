"""An instance in a line."""

import time

import pytest

from spoe_agent.top.columns import bar, colour, line
from tests.dashboard.stage import GIB, Stage


def one(stage, number=0):
    return stage.status(time.monotonic())["instances"][number]


def loads(stage):
    stage.asks("qwen2.5:32b", "gpu0")


def takes(stage):
    stage.telemetry("gpu0", foreign_bytes=24 * GIB)


def reads(stage):
    stage.reads("gpu0", "gemma2:27b", "mistral:7b")


def leaves(stage):
    stage.reads("gpu0", "gemma2:27b")
    stage.agent.board.reserve("gpu0", "qwen2.5:32b", ("gemma2:27b",))


BARS = [
    (lambda stage: None, "▕" + " " * 24 + "▏"),
    (reads, "▕" + "█" * 10 + " " * 14 + "▏"),
    (takes, "▕" + "/" * 12 + " " * 12 + "▏"),
    (loads, "▕" + "░" * 13 + " " * 11 + "▏"),
    (leaves, "▕" + "▒" * 8 + " " * 16 + "▏"),
]


@pytest.mark.parametrize(("happens", "expected"), BARS, ids=["empty", "loaded", "others", "loads", "leaves"])
def test_memory_is_to_scale(happens, expected):
    stage = Stage(1)
    happens(stage)
    assert bar(one(stage), 24).plain == expected


def test_models_slots_and_what_is_on_the_cpu():
    stage = Stage(1)
    stage.reads("gpu0", "gemma2:27b", spilled=0.5)
    for _ in range(3):
        stage.asks("gemma2:27b", "gpu0")
    text = line(one(stage), 10, 4).plain
    assert text.startswith("gpu0 ● up ")
    assert text.rstrip().endswith("8.5/ 48.0 gemma2:27b 3/4!cpu")


def test_a_model_has_one_colour():
    """In every process: a hash of Python's would differ."""
    assert [colour("a:7b"), colour("b:7b")] == ["bright_blue", "cyan"]
    assert len({colour(f"model-{number}") for number in range(50)}) > 4
