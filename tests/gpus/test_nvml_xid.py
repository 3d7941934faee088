"""The driver's error codes, from a recording's queue of events."""

import pytest

from spoe_agent.gpus.nvml import NvmlReader
from tests.gpus.recorded import HOST_CALLS, changed, read
from tests.gpus.replay import GPU_IS_LOST, NOT_SUPPORTED, UNKNOWN, ReplayNvml


@pytest.mark.parametrize("code", [NOT_SUPPORTED, UNKNOWN])
@pytest.mark.parametrize("call", HOST_CALLS)
def test_without_the_event_queue_there_are_no_xids(call, code):
    for before, after in zip(read("busy"), read("busy", faults={call: code}), strict=True):
        assert changed(before, after) == HOST_CALLS[call]


def test_the_last_xid_of_each_gpu_is_remembered():
    nvml = ReplayNvml(events=[(1, 8, 31), (1, 8, 79), (0, 2, 1)])
    reader = NvmlReader(lambda: nvml)
    assert [reading.xid for reading in reader.read(1.0)] == [0, 79]
    nvml.events.append((0, 8, 13))
    assert [reading.xid for reading in reader.read(2.0)] == [13, 79]
    assert [reading.xid for reading in reader.read(3.0)] == [13, 79]


def test_an_endless_queue_of_events_does_not_hold_a_reading_up():
    nvml = ReplayNvml(events=[(0, 8, 31)] * 1000)
    assert NvmlReader(lambda: nvml).read(1.0)[0].xid == 31
    assert len(nvml.events) > 900


def test_a_gpu_lost_while_events_are_taken_costs_no_reading():
    whole = read("busy")
    assert read("busy", faults={"nvmlEventSetWait_v2(0)": GPU_IS_LOST}) == whole
