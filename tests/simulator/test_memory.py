"""Placement and speed."""

from __future__ import annotations

import pytest

from spoe_agent.simulator.catalog import Model
from spoe_agent.simulator.memory import RunnerMemory, pace, place
from spoe_agent.simulator.profile import GB, GPU_SPEEDS, InstanceProfile


@pytest.mark.parametrize(
    ("free_gb", "alone", "spill", "vram_gb"),
    [
        (20, False, 0.0, 10),
        (12.5, False, 0.0, 10),
        (12.4, False, 0.0, None),  # more than 80 % of what is free
        (10, True, 0.0, 10),
        (4, True, 0.0, 4),
        (-3, True, 0.0, 0),
        (20, True, 0.4, 6),
    ],
)
def test_place(free_gb, alone, spill, vram_gb):
    free_bytes = int(free_gb * GB)
    placed = place(10 * GB, None if alone else free_bytes, free_bytes, InstanceProfile(), spill)
    assert placed == (None if vram_gb is None else RunnerMemory(10 * GB, vram_gb * GB))


@pytest.mark.parametrize(
    ("gpu", "gigabytes", "tokens_per_s"),
    [("4090", 4.7, 128), ("a100", 4.7, 138), ("h100", 4.08, 323), ("h100", 17.7, 95)],
)
def test_decode_speed_is_near_the_published_figures(gpu, gigabytes, tokens_per_s):
    model = Model("m", round(gigabytes * GB))
    speed = pace(InstanceProfile(gpu=GPU_SPEEDS[gpu]), model, RunnerMemory(GB, GB))
    assert 1 / speed.step_s == pytest.approx(tokens_per_s, rel=0.12)


def test_spilling_slows_both_phases():
    model = Model("m", 10 * GB)
    full, half = (pace(InstanceProfile(), model, RunnerMemory(10, vram)) for vram in (10, 5))
    assert half.step_s > 5 * full.step_s
    assert half.prefill_tokens_per_s < full.prefill_tokens_per_s / 5
