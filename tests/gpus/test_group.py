"""An instance's GPUs together."""

from dataclasses import fields, replace

import pytest

from spoe_agent.gpus.group import APPLICATION_XIDS, SLOWING, GroupReading, failure, group
from spoe_agent.gpus.nvml import NvmlReader
from spoe_agent.gpus.reading import GpuReading
from tests.gpus.replay import RECORD, ReplayNvml

GIB = 1 << 30
A = GpuReading(
    "GPU-a",
    memory_total_bytes=24 * GIB,
    memory_used_bytes=10 * GIB,
    memory_free_bytes=14 * GIB,
    read_at_s=50.0,
)
B = replace(
    A,
    uuid="GPU-b",
    memory_used_bytes=4 * GIB,
    memory_free_bytes=20 * GIB,
    read_at_s=52.0,
)
BOTH = {"GPU-a": A, "GPU-b": B}
NAMES = ["GPU-a", "GPU-b"]


def both(**changes):
    return {"GPU-a": replace(A, **changes), "GPU-b": B}


def test_memory_is_summed_and_the_age_is_the_oldest_reading_s():
    found = group(BOTH, NAMES, 60.0)
    assert (found.memory_total_bytes, found.memory_free_bytes) == (48 * GIB, 34 * GIB)
    assert found.age_s == 10.0
    assert found.missing == found.failing == ()


@pytest.mark.parametrize(
    ("field", "lost"),
    [
        ("memory_total_bytes", {"memory_total_bytes"}),
        ("memory_free_bytes", {"memory_free_bytes"}),
        ("memory_used_bytes", {"foreign_bytes"}),
    ],
)
def test_a_value_that_one_gpu_lacks_is_unknown_for_the_group(field, lost):
    whole = group(BOTH, NAMES, 60.0, own_bytes=GIB)
    found = group(both(**{field: None}), NAMES, 60.0, own_bytes=GIB)
    assert {
        each.name for each in fields(GroupReading) if getattr(found, each.name) != getattr(whole, each.name)
    } == lost
    assert all(getattr(found, name) is None for name in lost)


def test_a_gpu_without_a_reading_is_named_and_leaves_no_sums():
    found = group({"GPU-b": B}, NAMES, 60.0, own_bytes=0)
    assert found == GroupReading(missing=("GPU-a",), age_s=8.0)


def test_an_instance_without_gpus_has_nothing():
    assert group(BOTH, [], 60.0, own_bytes=0) == GroupReading()


@pytest.mark.parametrize(
    ("own_bytes", "foreign"),
    [
        pytest.param(5 * GIB, 9 * GIB, id="what is not claimed"),
        pytest.param(0, 14 * GIB, id="we have nothing there"),
        pytest.param(99 * GIB, 0, id="claims more than is used"),
        pytest.param(None, None, id="nothing known of ours"),
    ],
)
def test_what_other_programs_hold(own_bytes, foreign):
    assert group(BOTH, NAMES, 60.0, own_bytes).foreign_bytes == foreign


def test_another_program_s_memory_on_a_real_card_is_told_apart():
    """Beside what the two programs hold, the driver has some 10 MB of its own for each."""
    ours, theirs = RECORD["moments"]["busy"]["pids"]
    readings = {reading.uuid: reading for reading in NvmlReader(lambda: ReplayNvml("busy")).read(0.0)}
    (busy,) = [uuid for uuid, reading in readings.items() if reading.processes]
    held = readings[busy].processes
    foreign = group(readings, [busy], 0.0, held[ours]).foreign_bytes
    assert 0 <= foreign - held[theirs] < 32 << 20


@pytest.mark.parametrize("limit", sorted(SLOWING))
def test_power_and_heat_slow_a_gpu_down(limit):
    assert group(both(throttle=frozenset({limit, "sync_boost"})), NAMES, 60.0).throttled == {limit}


def test_idle_clocks_are_not_throttled():
    assert group(both(throttle=frozenset({"gpu_idle", "applications_clocks"})), NAMES, 60.0).throttled == frozenset()


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({}, None),
        ({"ecc_uncorrected": 0, "xid": 0}, None),
        ({"ecc_uncorrected": 2}, "has 2 uncorrected memory errors since the driver was loaded"),
        ({"xid": 79}, "reported Xid 79"),
        ({"fault": "is lost"}, "is lost"),
        ({"fault": "is lost", "xid": 79, "ecc_uncorrected": 1}, "is lost"),
        *(({"xid": xid}, None) for xid in sorted(APPLICATION_XIDS)),
    ],
)
def test_what_speaks_against_a_gpu(changes, why):
    assert failure(replace(A, **changes)) == why
    assert group(both(**changes), NAMES, 60.0).failing == (() if why is None else (f"GPU-a {why}",))
