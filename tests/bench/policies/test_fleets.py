from __future__ import annotations

from dataclasses import replace

import pytest

from bench.policies.fleets import FLEETS, regime
from spoe_agent.simulator.profile import GB
from spoe_agent.simulator.virtual.fleet import fits, prefill_s, step_s
from spoe_agent.simulator.virtual.pointsman import fleet_spec
from tests.simulator.virtual.builders import MODELS, PROFILE, fleet, model

A, B = MODELS["a"], MODELS["b"]


def test_nominal_capacity_is_that_of_full_batches() -> None:
    assert fleet(3).capacity() == pytest.approx(3 * 4 / 1.45)


def test_times_alone_follow_from_sizes() -> None:
    assert prefill_s(A, 1000, PROFILE) == pytest.approx(1.0)
    assert step_s(A, PROFILE) == pytest.approx(0.01)


def test_a_model_fits_with_cache_and_buffers() -> None:
    assert fits(model("x", 23), PROFILE)
    assert not fits(model("x", 24), PROFILE)


@pytest.mark.parametrize(
    ("count", "models", "hot_share", "hot_load", "facts", "label"),
    [
        pytest.param(2, 2, 0.9, 9.0, {}, "R0", id="all fit everywhere, hot or not"),
        pytest.param(4, 4, 0.3, 9.0, {}, "R1", id="half full"),
        pytest.param(2, 3, 0.3, 0.5, {"vram_bytes": 21 * GB}, "R1t", id="three quarters full"),
        pytest.param(2, 4, 0.3, 0.5, {"vram_bytes": 22 * GB}, "R2", id="nearly full"),
        pytest.param(4, 4, 0.3, 0.5, {"max_loaded_models": 1}, "R1t", id="just as many slots as models"),
        pytest.param(3, 4, 0.3, 0.5, {"max_loaded_models": 1}, "R2", id="fewer slots than models"),
        pytest.param(4, 4, 0.5, 3.0, {}, "RX", id="one instance cannot carry the hot model"),
        pytest.param(4, 4, 0.5, 2.0, {}, "R1", id="one instance can carry it"),
        pytest.param(4, 4, 0.4, 3.0, {}, "R1", id="hot, but not half of the work"),
    ],
)
def test_the_regime_tells_how_the_catalogue_fits(
    count: int, models: int, hot_share: float, hot_load: float, facts: dict[str, object], label: str
) -> None:
    asked = list(MODELS.values())[:models]

    assert regime(fleet(count, **facts), asked, hot_share, hot_load) == label


@pytest.mark.parametrize(
    ("name", "label"),
    [("F2-few", "R0"), ("F2", "R2"), ("F2-vram", "R1t"), ("F4", "R1"), ("F4-h100", "R1"), ("F4h", "R1"), ("F8", "R1")],
)
def test_the_fleets_are_in_the_regimes_they_stand_for(name: str, label: str) -> None:
    plan = FLEETS[name]

    assert regime(plan, plan.models, 0.4, 1.0) == label


@pytest.mark.parametrize(
    ("name", "field", "value"),
    [
        ("F4-k.05", "batch_slowdown", 0.05),
        ("F4-k.5", "batch_slowdown", 0.5),
        ("F4-b.7", "load_bytes_per_s", 0.7 * GB),
        ("F4-b7", "load_bytes_per_s", 7 * GB),
        ("F4-np1", "num_parallel", 1),
    ],
)
def test_variants_change_one_assumption(name: str, field: str, value: float) -> None:
    usual, variant = FLEETS["F4"], FLEETS[name]

    assert variant.instances == tuple(replace(profile, **{field: value}) for profile in usual.instances)
    assert (variant.models, variant.fault) == (usual.models, None)


def test_struck_fleets_are_as_the_usual_one_but_for_the_fault() -> None:
    struck = {name: plan for name, plan in FLEETS.items() if plan.fault is not None}

    assert set(struck) == {"F4-hang", "F4-kill", "F4-restart", "F4-slow"}
    for plan in struck.values():
        assert replace(plan, name="F4", fault=None) == FLEETS["F4"]
        assert plan.fault is not None and plan.fault.lasts_s < plan.fault.every_s


def test_the_largest_model_fits_only_two_of_the_mixed_fleet() -> None:
    plan = FLEETS["F4h"]

    assert [fits(plan.models[-1], profile) for profile in plan.instances] == [True, True, False, False]


def test_every_model_fits_somewhere() -> None:
    for plan in FLEETS.values():
        assert all(any(fits(model, profile) for profile in plan.instances) for model in plan.models), plan.name
        assert list(plan.models) == sorted(plan.models, key=lambda model: model.size_bytes)


def test_the_agent_can_be_told_of_every_fleet() -> None:
    for plan in FLEETS.values():
        assert len(fleet_spec(plan).instances) == len(plan.instances)


def test_instances_have_names() -> None:
    assert fleet(2).names() == ("ollama-1", "ollama-2")
    assert replace(fleet(1), name="x").names() == ("ollama-1",)
