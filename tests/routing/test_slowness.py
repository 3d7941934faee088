from dataclasses import replace

import pytest
from hypothesis import given

from spoe_agent.routing import InstanceState, ModelRule, choose
from spoe_agent.routing import estimates as e
from spoe_agent.routing.demand import demand, site
from spoe_agent.routing.estimates import GIB
from spoe_agent.routing.learned import NOTHING
from spoe_agent.routing.slowness import CPU, HELD_DOWN, USUAL, slowness
from spoe_agent.routing.snapshot import GpuDoubt, GpuGroup
from tests.routing.builders import FOUR_GIB, A, asks, fleet, moment, only, situations, spec, state, untimed

HOT = GpuGroup(doubt=GpuDoubt(slow="GPU 0 is hot"))
SIZED = [ModelRule("a", vram_bytes=8 * GIB)]


def found(reading, gpus=None, where="g0", rules=SIZED):
    of = fleet(where, rules=rules)
    snapshot = replace(moment(g0=reading), gpus={} if gpus is None else {"g0": gpus})
    return slowness(demand(asks(), of, snapshot), site(of.instances[0], asks(), snapshot))


def taken(foreign_gib, total_gib=16):
    return GpuGroup(total_bytes=total_gib * GIB, foreign_bytes=foreign_gib * GIB)


CASES = {
    # readings, GPUs, the instance -> factor, what is said
    "nothing is known of its GPUs": (state(A), None, "g0", 1, ""),
    "nothing is against them": (state(A), GpuGroup(), "g0", 1, ""),
    "held down": (state(A), HOT, "g0", HELD_DOWN, "GPU 0 is hot"),
    "held down, and yet to load": (state(), HOT, "g0", HELD_DOWN, "GPU 0 is hot"),
    "a quarter is on the CPU": (
        state(A, vram_bytes=3 * GIB),
        None,
        "g0",
        1 + (CPU - 1) / 4,
        "25% of it is on the CPU",
    ),
    "all of it is": (state(A, vram_bytes=0), None, "g0", CPU, "100% of it is on the CPU"),
    "both": (
        state(A, vram_bytes=2 * GIB),
        HOT,
        "g0",
        HELD_DOWN * (1 + (CPU - 1) / 2),
        "GPU 0 is hot; 50% of it is on the CPU",
    ),
    "a model without a size": (state(A, size_bytes=0), None, "g0", 1, ""),
    "other programs leave enough": (state(), taken(8), "g0", 1, ""),
    "other programs leave half of what it needs": (
        state(),
        taken(12),
        "g0",
        1 + (CPU - 1) / 2,
        "50% of it would be on the CPU: other programs hold 12.0 GiB",
    ),
    "they leave nothing": (state(), taken(99), "g0", CPU, "100% of it would be on the CPU"),
    "as much as the instance may have": (state(), taken(4), spec("g0", vram_bytes=8 * GIB), 1 + (CPU - 1) / 2, "50%"),
    "it does not fit, but nobody else is to blame": (state(), taken(0, total_gib=4), "g0", 1, ""),
    "nobody says how much there is": (state(), GpuGroup(foreign_bytes=GIB), "g0", 1, ""),
    "it is loaded already": (state(A), taken(99), "g0", 1, ""),
    "never heard of": (InstanceState(), None, "g0", 1, ""),
}


@pytest.mark.parametrize(("reading", "gpus", "where", "factor", "said"), CASES.values(), ids=CASES)
def test_how_much_slower_and_why(reading, gpus, where, factor, said):
    slow = found(reading, gpus, where)
    assert slow.factor == pytest.approx(factor)
    assert slow.why.startswith(said)
    assert bool(slow.why) is (slow.factor > 1)


def test_it_is_paid_for_in_service_times():
    choice = choose(asks(), fleet("g0", "g1"), replace(moment(g0=state(A), g1=state(A)), gpus={"g0": HOT}))
    assert only(choice, "g0").cost.slow_s == pytest.approx((HELD_DOWN - 1) * e.service_s(NOTHING, A, "g0", FOUR_GIB))
    assert only(choice, "g0").detail == "GPU 0 is hot"
    assert choice.instance == "g1"


@untimed
@given(situations())
def test_nothing_makes_an_instance_faster(situation):
    facts, of, snapshot = situation
    facts = replace(facts, model=A)
    for one in of.instances:
        slow = slowness(demand(facts, of, snapshot), site(one, facts, snapshot))
        assert 1 <= slow.factor <= HELD_DOWN * CPU * 1.0001
        assert (slow is USUAL) or (slow.why and slow.factor > 1)
