"""Readings of all sources together."""

from spoe_agent.gpus.board import GpuBoard, SourceHealth, SourceState
from spoe_agent.gpus.reading import GpuReading

LOST = SourceState(SourceHealth.DOWN, "no driver")


def gpu(uuid, read_at_s=0.0):
    return GpuReading(uuid, read_at_s=read_at_s)


def test_sources_are_unknown_until_they_are_heard_of():
    board = GpuBoard(["a", "b"])
    assert board.states == {"a": SourceState(), "b": SourceState()}
    assert board.readings == {}


def test_every_source_s_gpus_are_there():
    board = GpuBoard(["a", "b"])
    board.publish("a", [gpu("GPU-1"), gpu("GPU-2")])
    board.publish("b", [gpu("GPU-3")])
    assert board.readings.keys() == {"GPU-1", "GPU-2", "GPU-3"}
    assert board.of("a").keys() == {"GPU-1", "GPU-2"}
    assert board.of("b", "nobody").keys() == {"GPU-3"}


def test_a_source_that_is_lost_takes_no_reading_away():
    board = GpuBoard(["a", "b"])
    board.publish("a", [gpu("GPU-1", 7.0)])
    board.publish("b", [gpu("GPU-2", 7.0)])
    board.report("a", LOST)
    assert board.readings == {"GPU-1": gpu("GPU-1", 7.0), "GPU-2": gpu("GPU-2", 7.0)}
    assert board.states["a"] == LOST


def test_of_two_sources_for_one_gpu_the_first_that_is_up_counts():
    board = GpuBoard(["a", "b"])
    board.publish("b", [gpu("GPU-1", 1.0)])
    assert board.readings["GPU-1"].read_at_s == 1.0
    board.publish("a", [gpu("GPU-1", 2.0)])
    board.publish("b", [gpu("GPU-1", 3.0)])
    assert board.readings["GPU-1"].read_at_s == 2.0
    board.report("a", LOST)
    assert board.readings["GPU-1"].read_at_s == 3.0


def test_a_gpu_that_its_source_no_longer_sees_is_gone():
    board = GpuBoard(["a"])
    board.publish("a", [gpu("GPU-1"), gpu("GPU-2")])
    board.publish("a", [gpu("GPU-2")])
    assert board.readings.keys() == {"GPU-2"}


def test_what_was_given_out_does_not_change():
    board = GpuBoard(["a"])
    board.publish("a", [gpu("GPU-1")])
    readings, states = board.readings, board.states
    board.publish("a", [])
    board.report("a", LOST)
    assert (readings.keys(), states) == ({"GPU-1"}, {"a": SourceState(SourceHealth.UP)})
