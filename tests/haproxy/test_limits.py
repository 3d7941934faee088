"""The limit of one instance: as a table, and what holds for all."""

from itertools import pairwise

import hypothesis.strategies as st
import pytest
from hypothesis import given

from spoe_agent.haproxy.limits import DEGRADED, LEAST_FACTOR, Bounds, Capacity, Limit, Pace, factor
from spoe_agent.routing.snapshot import GpuDoubt, GpuGroup

GIB = 1 << 30
BOUNDS = Bounds(ceiling=12, whole=12)
FULL = GpuGroup(free_bytes=0, total_bytes=48 * GIB, foreign_bytes=20 * GIB)
FREE = GpuGroup(free_bytes=20 * GIB, total_bytes=48 * GIB, foreign_bytes=0)
HOT = GpuGroup(doubt=GpuDoubt(slow="GPU held down: hw_thermal"))

CASES = [
    ("nothing loaded: room for one", BOUNDS, Capacity(0, 4), 4),
    ("one loaded, room for one", BOUNDS, Capacity(4, 4), 8),
    ("as many as may be", BOUNDS, Capacity(12, 0), 12),
    ("more slots than the file allows", Bounds(6, 12), Capacity(12, 0), 6),
    ("let some wait inside Ollama", Bounds(24, 12), Capacity(4, 0), 8),
    ("no memory for another", BOUNDS, Capacity(8, 4, gpus=GpuGroup(free_bytes=0)), 8),
    ("memory for another", BOUNDS, Capacity(4, 4, gpus=FREE), 8),
    ("another program took the memory", BOUNDS, Capacity(8, 4, gpus=FULL), 6),
    ("held down by heat", BOUNDS, Capacity(8, 0, gpus=HOT), 6),
    ("three times slower", BOUNDS, Capacity(12, 0, slowdown=3.0), 8),
    ("a little slower", BOUNDS, Capacity(12, 0, slowdown=1.9), 12),
    ("nothing at all", BOUNDS, Capacity(0, 0), 1),
    ("the file's floor", Bounds(12, 12, 3), Capacity(0, 0), 3),
]


@pytest.mark.parametrize(("bounds", "now", "limit"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_limit(bounds, now, limit):
    assert Limit(bounds).follow(now, 0.0) == limit


def test_it_falls_at_once_and_recovers_slowly():
    it = Limit(BOUNDS)
    well, ill = Capacity(12, 0), Capacity(12, 0, slowdown=20.0)
    assert it.follow(well, 0.0) == 12
    assert it.follow(ill, 1.0) == 3
    seen = [it.follow(well, 1.0 + after_s) for after_s in range(0, 20)]
    assert seen[0] == 3
    assert seen == sorted(seen)
    assert max(later - earlier for earlier, later in pairwise(seen)) == 1
    assert seen[-1] == 12


def test_models_that_come_count_at_once():
    it = Limit(BOUNDS)
    assert [it.follow(Capacity(slots, 4), at_s) for at_s, slots in ((0.0, 0), (0.1, 4), (0.2, 8))] == [4, 8, 12]


capacities = st.builds(
    Capacity,
    st.integers(0, 1000),
    st.integers(0, 64),
    st.floats(0.01, 1e6),
    st.builds(
        GpuGroup,
        st.none() | st.integers(0, 10**12),
        st.none() | st.integers(0, 10**12),
        st.none() | st.integers(0, 10**12),
        doubt=st.builds(GpuDoubt, st.sampled_from(["", "hot"])),
    ),
)


@given(
    st.integers(1, 500),
    st.integers(1, 500),
    st.integers(1, 500),
    st.lists(st.tuples(capacities, st.floats(0, 100)), min_size=1, max_size=10),
)
def test_never_below_the_floor_nor_above_the_ceiling(ceiling, whole, floor, story):
    it, now_s = Limit(Bounds(ceiling, whole, min(floor, ceiling))), 0.0
    for now, after_s in story:
        now_s += after_s
        assert max(1, min(floor, ceiling)) <= it.follow(now, now_s) <= ceiling
        assert LEAST_FACTOR <= it.factor <= 1


@given(capacities)
def test_what_speaks_against_it_never_raises_it(now):
    assert factor(now) <= factor(Capacity(now.slots, now.more))


def test_answers_that_come_slower_than_ever_degrade_it_and_do_not_become_the_usual():
    pace = Pace()
    for _ in range(100):
        pace.add(0.001)
    assert pace.slowdown == pytest.approx(1.0)
    for _ in range(100):
        pace.add(0.004)
    assert DEGRADED < pace.slowdown < 4.1
    for _ in range(40):
        pace.add(0.001)
    assert pace.slowdown < DEGRADED


def test_a_few_answers_make_no_usual():
    pace = Pace()
    pace.add(0.001)
    pace.add(1.0)
    assert pace.slowdown == 1.0
