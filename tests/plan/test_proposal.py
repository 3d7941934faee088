"""Plans for described machines, checked by sums of the tests' own."""

import pytest

from spoe_agent.plan.proposal import propose
from spoe_agent.plan.wishes import Gpu
from tests.plan.checker import check
from tests.plan.described import (
    EMBED,
    GIB,
    LLAMA_1B,
    LLAMA_8B,
    LLAMA_70B,
    LLAMA_405B,
    MACHINES,
    QWEN_32B,
    SETS,
    asked,
    crowd,
    gpus,
    wish,
)


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("models", SETS)
def test_sums_hold(machine, models):
    check(propose(MACHINES[machine], SETS[models]), MACHINES[machine], SETS[models])


@pytest.mark.parametrize("element_bytes", [34 / 32, 18 / 32])
def test_sums_hold_with_a_quantized_cache(element_bytes):
    plan = propose(MACHINES["4x48"], SETS["many"], element_bytes)
    check(plan, MACHINES["4x48"], SETS["many"])


def homes(plan):
    return {wish.model.rpartition("/")[2]: len(plan.homes.get(wish.model, ())) for wish in plan_wishes(plan)}


def plan_wishes(plan):
    return {one.model: one for group in plan.groups for one in group.wishes}.values()


def groups(plan):
    """How many GPUs each group has, and its models."""
    return sorted(
        (len(group.gpus), *sorted(one.model.rpartition("/")[2] for one in group.wishes)) for group in plan.groups
    )


def test_one_gpu_for_each_model_where_that_does():
    plan = propose(gpus(4, 24), [LLAMA_8B, QWEN_32B, EMBED, LLAMA_1B])
    assert [len(group.gpus) for group in plan.groups] == [1, 1, 1, 1]
    assert all(len(group.wishes) == 1 for group in plan.groups)


def test_a_model_too_large_for_one_gpu_gets_as_many_as_it_needs():
    plan = propose(gpus(4, 24), [LLAMA_70B, LLAMA_8B])
    assert groups(plan) == [(1,), (1, "llama3.1:8b"), (2, "llama3.3:70b")]


def test_in_a_mixed_machine_the_large_gpus_are_for_the_large_models():
    plan = propose(MACHINES["24+80"], [LLAMA_70B, LLAMA_8B, LLAMA_1B])
    assert [len(group.gpus) for group in plan.groups] == [1, 1, 1, 1]
    large = next(group for group in plan.groups if any("70b" in one.model for one in group.wishes))
    assert large.gpus[0].bytes == 80 * GIB


def test_what_has_no_place_beside_a_large_model_can_still_be_loaded_in_turn():
    plan = propose(gpus(2, 24), [LLAMA_70B, LLAMA_8B])
    assert groups(plan) == [(2, "llama3.3:70b")]
    (missing,) = plan.missing
    assert missing.wish is LLAMA_8B
    assert "which one GPU would hold, but not beside what is there" in missing.why


def test_what_fits_nowhere_is_said_with_the_largest_group():
    plan = propose(gpus(2, 24), [LLAMA_405B])
    (missing,) = plan.missing
    assert missing.why.startswith("needs 2")
    assert missing.why.endswith("8192 tokens x 1 slot; the largest group here (2 x 24 GiB) has 46.0 GiB for models")


def test_copies_follow_the_demand():
    plan = propose(gpus(4, 24), [asked(LLAMA_8B, demand=9.0), asked(LLAMA_1B, copies_wanted=2)])
    assert homes(plan) == {"llama3.1:8b": 3, "llama3.2:1b": 2}
    assert not plan.missing


def test_no_more_copies_than_instances():
    plan = propose(gpus(2, 24), [asked(LLAMA_1B, copies_wanted=5)])
    (missing,) = plan.missing
    assert (missing.copies, missing.why) == (3, "every instance has one of its 2 copies already")


def test_every_model_has_a_copy_before_any_has_two():
    models = [asked(QWEN_32B, model=f"m{number}", demand=0.1) for number in range(3)]
    plan = propose(gpus(4, 40), [asked(QWEN_32B, model="busy", demand=40.0), *models])
    assert len(plan.homes) == 4


def test_who_is_asked_for_least_stays_out():
    models = [asked(QWEN_32B, model=f"m{number}", demand=0.1 + 0.2 * number) for number in range(4)]
    plan = propose(gpus(2, 30), models)
    assert sorted(one.wish.model for one in plan.missing) == ["m0", "m1"]


def test_work_is_shared_out():
    busy = [asked(LLAMA_1B, model=f"m{number}", demand=4.0) for number in range(8)]
    plan = propose(gpus(4, 80), busy)
    assert [len(group.wishes) for group in plan.groups] == [2, 2, 2, 2]


def test_two_vendors_make_no_group():
    mixed = [*gpus(1, 24, "amd"), *gpus(1, 24, "nvidia")]
    plan = propose(mixed, [LLAMA_70B])
    assert [len(group.gpus) for group in plan.groups] == [1, 1]
    assert len(plan.missing) == 1


def test_mig_devices_make_no_group():
    mig = [Gpu(f"MIG-{number}", 24 * GIB, "nvidia", may_group=False) for number in range(4)]
    plan = propose(mig, [LLAMA_70B, LLAMA_8B])
    check(plan, mig, [LLAMA_70B, LLAMA_8B])
    assert [len(group.gpus) for group in plan.groups] == [1, 1, 1, 1]


def test_an_instance_has_the_context_and_slots_of_its_models_only():
    plan = propose(gpus(2, 80), [asked(LLAMA_8B, context=32768), asked(LLAMA_1B, context=4096)])
    assert [len(group.wishes) for group in plan.groups] == [1, 1]


@pytest.mark.parametrize("machine", [gpus(64, 80), [*gpus(32, 24), *gpus(32, 48)]], ids=["64x80", "32x24+32x48"])
def test_a_large_machine_with_many_models(machine):
    models = crowd(200)
    check(propose(machine, models), machine, models)


def test_it_says_the_same_each_time():
    models = [wish(f"m{number}", 3 + number % 7) for number in range(30)]
    first, second = (propose(gpus(8, 24), models) for _ in range(2))
    assert first.homes == second.homes
