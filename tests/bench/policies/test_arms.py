from __future__ import annotations

import pytest

from bench.policies.arms import ABLATIONS, ARMS, BASELINE, BLIND, COMPARED, IDEAL, OURS
from tests.simulator.virtual.builders import PROFILE, fleet


def test_the_named_ones_are_in_the_table() -> None:
    assert {BASELINE, IDEAL, OURS} <= ARMS.keys()
    assert all(name == arm.name for name, arm in ARMS.items())


@pytest.mark.parametrize(
    ("name", "limits"),
    [
        ("leastconn", [None, None]),
        ("bounded_hash", [None, None]),
        ("leastconn_maxconn", [8, 8]),
        ("nginx_leastconn", [8, 8]),
        ("pointsman", [8, 8]),
    ],
)
def test_limits_are_slots_times_models(name: str, limits: list[int | None]) -> None:
    assert ARMS[name].limits(fleet(2, max_loaded_models=2)) == limits


def test_only_the_ideal_runs_on_other_hardware() -> None:
    assert [name for name, arm in ARMS.items() if arm.hardware(PROFILE) != PROFILE] == [IDEAL]


def test_each_ablation_switches_off_one_part_of_ours() -> None:
    assert [arm.name.removeprefix(f"{OURS}-no-") for arm in ABLATIONS] == [
        "load",
        "evict",
        "share",
        "spread",
        "prefix",
        "hold",
        "steering",
    ]
    assert all(arm.limits(fleet(2)) == ARMS[OURS].limits(fleet(2)) for arm in ABLATIONS)
    assert not {arm.name for arm in (*ABLATIONS, BLIND)} & {arm.name for arm in COMPARED}
