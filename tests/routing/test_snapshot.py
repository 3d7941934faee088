from dataclasses import replace

import pytest

from spoe_agent.routing import Activity, Health, LoadedModel
from spoe_agent.routing.snapshot import NO_GPUS, GpuGroup
from tests.routing.builders import A, B, moment, state


def test_what_is_known_of_an_instance():
    reading, activity = state(A), Activity({A: 1})
    snapshot = moment({"g0": activity}, g0=reading)
    assert snapshot.state("g0") is reading
    assert snapshot.active("g0") is activity


def test_an_instance_nobody_heard_of():
    snapshot = moment()
    assert snapshot.state("g9").health is Health.UNKNOWN
    assert snapshot.state("g9").loaded_at_s is None
    assert not snapshot.active("g9").in_flight


def test_a_load_that_was_answered_for_is_finished():
    assert Activity(loading={A: 1.0, B: 2.0}, answered={A: 3.0}).unfinished == {B: 2.0}


def test_what_is_known_of_gpus():
    group = GpuGroup(free_bytes=1)
    snapshot = replace(moment(), gpus={"g0": group})
    assert snapshot.gpu("g0") is group
    assert snapshot.gpu("g9") is NO_GPUS


@pytest.mark.parametrize(("size", "vram", "spilled"), [(4, 4, 0), (4, 1, 3), (4, 0, 4), (4, 5, 0)])
def test_what_of_a_model_is_not_in_vram(size, vram, spilled):
    assert LoadedModel(size, vram).spilled_bytes == spilled
