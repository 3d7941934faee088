from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from bench.policies.fleets import FLEETS
from bench.policies.placement import ModelDemand, Places, holds, in_order, place
from spoe_agent.simulator.profile import GB
from spoe_agent.simulator.virtual.fleet import FleetPlan
from tests.simulator.virtual.builders import MODELS, PROFILE, fleet, model

A, B, C, D = MODELS.values()


def copies(places: Places) -> Counter[str]:
    return Counter(one.name for held in places for one in held)


def test_every_model_has_a_place_and_the_rest_is_filled_with_copies() -> None:
    places = place(fleet(4), {one: ModelDemand(1.0, 10.0) for one in (A, B, C)})

    assert all(len(held) == 2 for held in places)
    assert set(copies(places)) == {"a", "b", "c"} and max(copies(places).values()) <= 4


EQUALS = """
from bench.policies.placement import ModelDemand, place
from tests.simulator.virtual.builders import fleet, model

models = [model(name) for name in "abcdefg"]
print([sorted(one.name for one in held) for held in place(fleet(5), dict.fromkeys(models, ModelDemand(1.0, 10.0)))])
"""


def test_equals_have_the_same_places_in_every_process() -> None:
    """Sets of models have another order in each."""
    command = [sys.executable, "-c", EQUALS]
    found = {
        subprocess.run(
            command, env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
        ).stdout
        for seed in ("1", "2", "3", "4")
    }

    assert len(found) == 1


def test_what_is_asked_for_most_has_most_copies() -> None:
    demands = {A: ModelDemand(9.0, 90.0), B: ModelDemand(1.0, 10.0), C: ModelDemand(1.0, 10.0)}
    found = copies(place(fleet(3), demands))

    assert found["a"] > 1 and sum(found.values()) == 6


def test_busy_models_do_not_share_an_instance() -> None:
    demands = {A: ModelDemand(9.0, 90.0), B: ModelDemand(9.0, 90.0), C: ModelDemand(1.0, 1.0), D: ModelDemand(1.0, 1.0)}
    places = place(fleet(2), demands)

    assert not any({A, B} <= held for held in places)


def test_what_finds_no_place_is_nowhere() -> None:
    places = place(fleet(1), {one: ModelDemand(1.0, 10.0) for one in (A, B, C)})

    assert [len(held) for held in places] == [2]


def test_a_model_is_only_where_it_fits() -> None:
    big = model("big", 30)
    plan = FleetPlan("mixed", (PROFILE, replace(PROFILE, vram_bytes=48 * GB)), (big,))

    assert place(plan, {big: ModelDemand(1.0, 10.0)}) == (frozenset(), frozenset({big}))


def test_beside_others_a_model_needs_room_to_spare() -> None:
    big, small = model("big", 12), model("small", 10)

    assert holds(PROFILE, frozenset({big, small}))
    assert not holds(replace(PROFILE, fit_fraction=0.8), frozenset({big, small}))
    assert not holds(replace(PROFILE, max_loaded_models=1), frozenset({big, small}))
    assert in_order(frozenset({small, big}), PROFILE) == [big, small]


@given(
    st.sampled_from(["F2", "F4", "F4h", "F8"]),
    st.lists(st.tuples(st.floats(0, 100), st.floats(0, 1000)), min_size=10, max_size=10),
)
def test_no_instance_gets_more_than_it_holds_and_the_same_demand_the_same_places(
    name: str, drawn: list[tuple[float, float]]
) -> None:
    plan = FLEETS[name]
    demands = {one: ModelDemand(*demand) for one, demand in zip(plan.models, drawn, strict=False)}
    places = place(plan, demands)

    assert all(holds(profile, held) for profile, held in zip(plan.instances, places, strict=True))
    assert places == place(plan, demands)
