"""What the metrics say of instances."""

from dataclasses import replace

import pytest

from spoe_agent.agent.settings import Started
from spoe_agent.fleet import HealthPolicy, loads, specs
from spoe_agent.routing.snapshot import ANY_MODEL, Avoided
from tests.metrics.rig import FLEET, A, B, Rig


async def test_health_and_limits():
    rig = Rig()
    rig.watch.drain("g1")
    for name, states in (("g0", "up"), ("g1", "drained")):
        for state in ("unknown", "up", "down", "suspect", "recovering", "drained"):
            found = await rig.value("pointsman_instance_health", instance=name, state=state)
            assert found == (1 if state == states else 0)
    rig.limiter.follow()
    assert await rig.value("pointsman_connection_limit", instance="g0") == rig.limiter.now("g0")
    assert await rig.value("pointsman_connection_limit_configured", instance="g0") == rig.limiter.configured("g0")
    assert await rig.value("pointsman_slowdown_ratio", instance="g0") == 1.0


@pytest.mark.parametrize(
    ("about", "state"),
    [
        (None, {}),
        ("refusals", {"avoided": {ANY_MODEL: Avoided(110.0, "503")}}),
        (None, {"avoided": {ANY_MODEL: Avoided(90.0, "503")}}),
        ("loads", {"loads_in_doubt": True}),
        ("gpus", {"lost_gpus": "has a on the CPU alone"}),
    ],
)
async def test_doubts(about, state):
    rig = Rig()
    rig.agent.published("g0", replace(rig.agent.board.state("g0"), **state))
    found = {
        one: await rig.value("pointsman_instance_doubts", instance="g0", about=one)
        for one in ("refusals", "loads", "gpus", "settings")
    }
    assert {one for one, value in found.items() if value} == {about} - {None}


async def test_settings_that_are_not_as_the_file_says():
    rig = Rig(FLEET.replace("{name: g0,", "{name: g0, num_parallel: 2,"))
    for parallel, expected in ((2, 0), (4, 1)):
        rig.agent.settings.started("g0", Started(num_parallel=parallel))
        assert await rig.value("pointsman_instance_doubts", instance="g0", about="settings") == expected
        assert await rig.value("pointsman_instance_doubts", instance="g1", about="settings") == 0


async def test_slots_and_what_is_loaded():
    rig = Rig()
    rig.ask("r1")
    rig.clock.now_s += 2.5
    for state in ("used", "free"):
        assert await rig.value("pointsman_slots", instance="g0", state=state) == 1
        assert await rig.value("pointsman_slots", instance="g1", state=state) == 0
    assert await rig.value("pointsman_requests_in_flight", instance="g0") == 1
    assert await rig.value("pointsman_loaded_models", instance="g0") == 1
    assert await rig.value("pointsman_loaded_bytes", instance="g0", memory="gpu") == 8
    assert await rig.value("pointsman_loaded_bytes", instance="g0", memory="cpu") == 2
    assert await rig.value("pointsman_readings_age_seconds", instance="g0") == 2.5


async def test_a_load_is_in_progress_until_it_is_listed():
    rig = Rig()
    rig.ask("r1", "b")
    assert await rig.value("pointsman_loads_in_progress", instance="g1") == 1
    assert await rig.value("pointsman_slots", instance="g1", state="used") == 1
    rig.clock.now_s += 5.0
    rig.read("g1", B)
    assert await rig.value("pointsman_loads_in_progress", instance="g1") == 0
    assert await rig.value("pointsman_model_copies", model="b:latest") == 1


async def test_copies_of_a_model():
    rig = Rig()
    rig.clock.now_s += 1.0
    rig.read("g1", A)
    assert await rig.value("pointsman_model_copies", model="a:latest") == 2


async def test_an_instance_that_an_edit_takes_away_leaves_no_series():
    rig = Rig()
    less = loads(FLEET.replace('  - {name: g1, url: "http://127.0.0.1:11436"}\n', ""))
    rig.agent.adopt(specs(less))
    rig.watch.adopt(HealthPolicy(), ["g1"])
    rig.limiter.adopt(less)
    assert await rig.value("pointsman_instance_health", instance="g1", state="up") is None
    assert await rig.value("pointsman_instance_health", instance="g0", state="up") == 1
