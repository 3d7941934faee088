from dataclasses import replace

import pytest
from hypothesis import given

from spoe_agent.routing import InstanceState, ModelRule, Tier, choose
from spoe_agent.routing import estimates as e
from spoe_agent.routing.demand import Demand, Site
from spoe_agent.routing.estimates import GIB
from spoe_agent.routing.slowness import CPU, HELD_DOWN, USUAL, slowness
from spoe_agent.routing.snapshot import NOTHING, GpuDoubt, GpuGroup, Learned
from spoe_agent.routing.warmth import stand
from tests.routing.builders import FOUR_GIB, A, B, asks, fleet, moment, only, situations, spec, state, untimed

HOT = GpuGroup(doubt=GpuDoubt(slow="GPU 0 is hot"))
PLACED = [ModelRule("a", vram_bytes=8 * GIB)]


def judged(facts, of, where, snapshot):
    found = Demand.of(facts, of, snapshot), Site.of(where, facts, snapshot)
    return slowness(*found, stand(*found))


def found(reading, gpus=None, where="g0", rules=PLACED):
    of = fleet(where, rules=rules)
    snapshot = replace(moment(g0=reading), gpus={} if gpus is None else {"g0": gpus})
    return judged(asks(), of, of.instances[0], snapshot)


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
    "it does not fit, and nobody else is to blame": (
        state(),
        taken(0, total_gib=4),
        "g0",
        1 + (CPU - 1) / 2,
        "50% of it would be on the CPU",
    ),
    "the file says that there is less than it needs": (
        state(),
        None,
        spec("g0", vram_bytes=6 * GIB),
        1 + (CPU - 1) / 4,
        "25%",
    ),
    "the file says that there is enough": (state(), None, spec("g0", vram_bytes=8 * GIB), 1, ""),
    "the file says that there is no GPU": (state(), None, spec("g0", vram_bytes=0), CPU, "100% of it would be"),
    "another found no GPU": (state(B, vram_bytes=0), None, "g0", CPU, "100% of it would be"),
    "another found none, whatever the file says": (
        state(B, vram_bytes=0),
        None,
        spec("g0", vram_bytes=8 * GIB),
        CPU,
        "100% of it would be",
    ),
    "another found too little": (state(B, vram_bytes=2 * GIB), None, "g0", 1 + (CPU - 1) * 3 / 4, "75% of it would be"),
    "another found too little beside others, and the file says how much there is": (
        state(B, vram_bytes=2 * GIB),
        None,
        spec("g0", vram_bytes=8 * GIB),
        1,
        "",
    ),
    "another found enough": (state(B), None, "g0", 1, ""),
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


ON_CPU = {
    # the part of both models that is on the GPU, what the file says of memory
    "on the CPU, and nobody says so": (0.0, None),
    "on the CPU, as the file says": (0.0, 0),
    "half on the CPU": (0.5, None),
    "27 % on the GPU": (0.27, None),
}


@pytest.mark.parametrize(("on_gpu", "vram_bytes"), ON_CPU.values(), ids=ON_CPU)
@pytest.mark.parametrize("known_s", [None, 12.0])
def test_what_would_be_as_slow_elsewhere_is_not_loaded_there(on_gpu, vram_bytes, known_s):
    """Two instances alike, a model on each: who is asked for goes where it is, whatever that has taken so far."""
    where = [spec(name, max_loaded_models=1, vram_bytes=vram_bytes) for name in ("g0", "g1")]
    vram = int(FOUR_GIB * on_gpu)
    service = {} if known_s is None else {(A, "g0"): known_s, (B, "g1"): known_s}
    learned = Learned(service, usual_service_s={} if known_s is None else {A: known_s, B: known_s})
    snapshot = moment(None, learned, g0=state(A, vram_bytes=vram), g1=state(B, vram_bytes=vram))
    for model, instance in ((A, "g0"), (B, "g1")):
        choice = choose(asks(model), fleet(*where), snapshot)
        assert (choice.instance, choice.tier) == (instance, Tier.LOADED)


def test_a_gpu_that_is_free_is_worth_a_load_where_a_copy_is_on_the_cpu():
    of = fleet(spec("g0", vram_bytes=0), spec("g1", vram_bytes=24 * GIB))
    assert choose(asks(), of, moment(g0=state(A, vram_bytes=0), g1=state())).instance == "g1"


def test_learned_times_hold_the_slowness_already():
    """Where only slow copies have run, a request would take a tenth on a GPU, and saves nine tenths of its time."""
    learned = Learned({(A, "g0"): 10.0}, usual_service_s={A: 10.0})
    of = fleet(spec("g0", vram_bytes=0), "g1")
    choice = choose(asks(), of, moment(None, learned, g0=state(A, vram_bytes=0), g1=state()))
    assert only(choice, "g0").cost.slow_s == pytest.approx(9.0)


@untimed
@given(situations())
def test_nothing_makes_an_instance_faster(situation):
    facts, of, snapshot = situation
    facts = replace(facts, model=A)
    for one in of.instances:
        slow = judged(facts, of, one, snapshot)
        assert 1 <= slow.factor <= HELD_DOWN * CPU * 1.0001
        assert (slow is USUAL) or (slow.why and slow.factor > 1)
