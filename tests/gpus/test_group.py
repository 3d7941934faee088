"""An instance's GPUs together."""

from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spoe_agent.gpus.group import APPLICATION_XIDS, HIDDEN_BYTES, SLOWING, GroupReading, failure, group
from spoe_agent.gpus.nvml import NvmlReader
from spoe_agent.gpus.reading import GpuReading
from tests.gpus.replay import RECORD, ReplayNvml

GIB = 1 << 30
A = GpuReading(
    "GPU-a",
    memory_total_bytes=24 * GIB,
    memory_used_bytes=10 * GIB,
    memory_free_bytes=14 * GIB,
    processes={100: 7 * GIB, 200: 3 * GIB},
    read_at_s=50.0,
)
B = replace(
    A,
    uuid="GPU-b",
    memory_used_bytes=4 * GIB,
    memory_free_bytes=20 * GIB,
    processes={100: 4 * GIB},
    read_at_s=52.0,
)
BOTH = {"GPU-a": A, "GPU-b": B}
NAMES = ["GPU-a", "GPU-b"]


def both(**changes):
    return {"GPU-a": replace(A, **changes), "GPU-b": B}


def test_memory_is_summed_and_the_age_is_the_oldest_reading_s():
    found = group(BOTH, NAMES, 60.0)
    assert (found.memory_total_bytes, found.memory_free_bytes, found.largest_free_bytes) == (
        48 * GIB,
        34 * GIB,
        20 * GIB,
    )
    assert found.age_s == 10.0
    assert found.missing == found.failing == ()


@pytest.mark.parametrize(
    ("field", "lost"),
    [
        ("memory_total_bytes", {"memory_total_bytes"}),
        ("memory_free_bytes", {"memory_free_bytes", "largest_free_bytes"}),
        ("memory_used_bytes", {"foreign_bytes"}),
        ("processes", set()),
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
    found = group({"GPU-b": B}, NAMES, 60.0, own_pids={100}, own_bytes=0)
    assert found == GroupReading(missing=("GPU-a",), age_s=8.0)


def test_an_instance_without_gpus_has_nothing():
    assert group(BOTH, [], 60.0, own_pids=set(), own_bytes=0) == GroupReading()


@pytest.mark.parametrize(
    ("readings", "own_pids", "own_bytes", "foreign"),
    [
        pytest.param(BOTH, {100}, None, 3 * GIB, id="by process"),
        pytest.param(BOTH, {100, 200}, None, 0, id="all ours"),
        pytest.param(BOTH, set(), None, 14 * GIB, id="we have no process there"),
        pytest.param(BOTH, {100}, 5 * GIB, 3 * GIB, id="processes before claims"),
        pytest.param(BOTH, None, 5 * GIB, 9 * GIB, id="by claim"),
        pytest.param(BOTH, None, 99 * GIB, 0, id="claims more than is used"),
        pytest.param(BOTH, None, None, None, id="nothing known of ours"),
        pytest.param(both(processes=None), {100}, 11 * GIB, 3 * GIB, id="a list is missing: by claim"),
        pytest.param(both(processes=None), {100}, None, None, id="a list is missing, no claim"),
        pytest.param(both(processes={}), {100}, 11 * GIB, 3 * GIB, id="processes are hidden: by claim"),
        pytest.param(
            both(memory_used_bytes=10 * GIB + HIDDEN_BYTES // 2), {100}, None, 3 * GIB, id="the driver's own share"
        ),
    ],
)
def test_what_other_programs_hold(readings, own_pids, own_bytes, foreign):
    assert group(readings, NAMES, 60.0, own_pids, own_bytes).foreign_bytes == foreign


def test_another_program_s_memory_on_a_real_card_is_told_apart():
    ours, theirs = RECORD["moments"]["busy"]["pids"]
    readings = {reading.uuid: reading for reading in NvmlReader(lambda: ReplayNvml("busy")).read(0.0)}
    busy = [uuid for uuid, reading in readings.items() if reading.processes]
    assert group(readings, busy, 0.0, {ours}).foreign_bytes == readings[busy[0]].processes[theirs]
    assert group(readings, busy, 0.0, {ours, theirs}).foreign_bytes == 0


@pytest.mark.parametrize("model_gib", [15.9, 16.1])
def test_ollama_takes_one_gpu_up_to_four_fifths_of_its_free_memory(model_gib):
    assert group(BOTH, NAMES, 60.0).fits_one_gpu(int(model_gib * GIB)) is (model_gib < 16)


def test_whether_one_gpu_will_do_is_unknown_without_its_free_memory():
    assert GroupReading().fits_one_gpu(1) is None


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


amounts = st.integers(0, 1 << 40)


@given(st.lists(st.tuples(amounts, st.dictionaries(st.integers(1, 9), amounts)), min_size=1, max_size=8), st.data())
def test_what_is_ours_and_what_is_foreign_make_up_all_that_is_listed(gpus, data):
    """Law: splitting the processes into two parties leaves nothing out, and nobody is counted twice."""
    readings = {
        f"GPU-{number}": GpuReading(f"GPU-{number}", memory_used_bytes=sum(held.values()) + extra % HIDDEN_BYTES,
                                    processes=held)
        for number, (extra, held) in enumerate(gpus)
    }  # fmt: skip
    party = data.draw(st.sets(st.integers(1, 9)))
    rest = set(range(1, 10)) - party
    foreign = [group(readings, list(readings), 0.0, own).foreign_bytes for own in (party, rest)]
    assert sum(foreign) == sum(sum(reading.processes.values()) for reading in readings.values())
