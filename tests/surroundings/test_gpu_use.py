"""Whose the GPUs' memory is, and whether they are whole."""

from dataclasses import replace

from spoe_agent.gpus.reading import GpuReading
from spoe_agent.routing import LoadedModel
from spoe_agent.surroundings.gpu_use import free, mig, named
from spoe_agent.surroundings.remark import Level
from tests.surroundings.seeing import GIB, A, B, fleet, notes, seen, wrongs


def holds(reading, gib, **more):
    used = int(gib * GIB)
    return replace(reading, memory_used_bytes=used, memory_free_bytes=24 * GIB - used, **more)


MODELS = {"loaded": {"m": LoadedModel(8 * GIB, 8 * GIB)}}
BOUND = fleet({"gpus": [A.uuid]})


def test_memory_of_others_is_told_with_their_names():
    pids = {2**22 + 1: 5 * GIB}  # nobody's: above the largest process id
    found = list(free(seen(BOUND, MODELS, gpus=[holds(A, 14, processes=pids)])))
    assert notes(found) == ["g0: process 4194305 (unknown, 5.0 GiB) have 5.4 GiB of its GPUs"]


def test_its_own_models_are_its_own():
    found = list(free(seen(BOUND, MODELS, gpus=[holds(A, 8.9)])))
    assert [(one.level, one.text) for one in found] == [(Level.OK, "g0: its GPUs are free for it")]


def test_two_on_one_gpu_are_counted_together():
    two = fleet(*({"gpus": [A.uuid], "shared": True, "vram": "12GiB"} for _ in range(2)))
    assert not notes(free(seen(two, MODELS, MODELS, gpus=[holds(A, 17.5)])))
    assert notes(free(seen(two, MODELS, {}, gpus=[holds(A, 17.5)])))


def test_a_gpu_with_errors_is_wrong():
    (text,) = wrongs(free(seen(BOUND, gpus=[holds(A, 0, ecc_uncorrected=3)])))
    assert text.startswith(f"g0: {A.uuid} has 3 uncorrected memory errors")


def test_of_who_does_not_answer_nothing_is_said():
    assert not list(free(seen(BOUND, {"version": "", "why": "down"}, gpus=[holds(A, 14)])))


def test_a_gpu_that_is_not_there_is_told_of():
    (text,) = notes(named(seen(fleet({"gpus": ["GPU-bbbbbbbb-0009"]}), gpus=[A])))[:1]
    assert "there is no GPU GPU-bbbbbbbb-0009" in text


def test_mig_devices_are_named_one_by_one():
    parts = [GpuReading(f"MIG-{number}aaa", parent_uuid=A.uuid) for number in range(2)]
    assert wrongs(mig(seen(fleet({"gpus": [A.uuid]}), gpus=[A, *parts]))) == [
        f"g0: GPU {A.uuid} is divided into MIG devices"
    ]
    both = fleet({"gpus": ["MIG-0aaa", "MIG-1aaa"]})
    assert wrongs(mig(seen(both, gpus=[A, *parts]))) == ["g0 is bound to 2 MIG devices"]
    assert not list(mig(seen(fleet({"gpus": ["MIG-0aaa"]}, {"gpus": [B.uuid]}), gpus=[A, B, *parts])))
