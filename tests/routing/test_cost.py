from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spoe_agent.routing import Activity, FleetSpec, InstanceState, Kind, ModelRule, Snapshot, Tier, choose
from spoe_agent.routing import estimates as e
from spoe_agent.routing.cost import LOAD_PRICE, SHARE_PER_REQUEST
from spoe_agent.routing.estimates import GIB

from .builders import FOUR_GIB, NOW_S, A, B, C, asks, counts, fleet, moment, only, situations, spec, state, untimed

LOADED, LOADING, ROOM, EVICT = Tier
LOAD_S = e.load_s(FOUR_GIB)
SERVICE_S = e.service_s(FOUR_GIB)
SIZED = [ModelRule("*", vram_bytes=5 * GIB)]


def price(where, reading, activity=None, facts=None, rules=()):
    """Tier and cost of model A on the one instance of a fleet."""
    snapshot = moment({"g0": activity} if activity else None, g0=reading)
    candidate = only(choose(facts or asks(), fleet(where, rules=rules), snapshot), "g0")
    assert candidate.exclusion is None
    return candidate.tier, candidate.cost


TIERS = {
    "loaded": (spec("g0"), state(A, B), None, LOADED),
    "loading": (spec("g0"), state(), Activity(loading={A: NOW_S}), LOADING),
    "loading again though the list is older": (spec("g0"), state(A), Activity(loading={A: NOW_S}), LOADING),
    "empty": (spec("g0", vram_bytes=5 * GIB, max_loaded_models=1), state(), None, ROOM),
    "room beside another": (spec("g0", vram_bytes=9 * GIB), state(B), None, ROOM),
    "memory not known": (spec("g0"), state(B, C), None, ROOM),
    "memory is short by a byte": (spec("g0", vram_bytes=9 * GIB - 1), state(B), None, EVICT),
    "a resident that is half on the CPU takes half": (
        spec("g0", vram_bytes=7 * GIB),
        state(B, vram_bytes=2 * GIB),
        None,
        ROOM,
    ),
    "a resident on the CPU alone takes nothing": (spec("g0", vram_bytes=5 * GIB), state(B, vram_bytes=0), None, ROOM),
    "memory is short for what is loading": (spec("g0", vram_bytes=9 * GIB), state(), Activity(loading={B: 1}), EVICT),
    "a model too many": (spec("g0", max_loaded_models=2), state(B, C), None, EVICT),
    "a model too many, one is loading": (
        spec("g0", max_loaded_models=2),
        state(B),
        Activity(loading={C: NOW_S}),
        EVICT,
    ),
    "loaded and still listed as loading is one model": (
        spec("g0", max_loaded_models=2),
        state(B),
        Activity(loading={B: NOW_S}),
        ROOM,
    ),
    "never heard of": (spec("g0", vram_bytes=5 * GIB), InstanceState(), None, ROOM),
}


@pytest.mark.parametrize(("where", "reading", "activity", "expected"), TIERS.values(), ids=TIERS)
def test_tier(where, reading, activity, expected):
    assert price(where, reading, activity, rules=SIZED)[0] is expected


def test_loaded_and_idle_costs_nothing():
    assert price(spec("g0"), state(A, B))[1].total_s == 0


WAITS = [
    # slots, in flight of A, in flight of B, HAProxy's count -> service times until a slot is free
    (1, 0, 0, None, 0),
    (1, 1, 0, None, 1),
    (1, 3, 0, None, 3),
    (4, 3, 0, None, 0),
    (4, 4, 0, None, 0.25),
    (4, 8, 0, None, 1.25),
    (4, 0, 9, None, 0),  # slots belong to a model, not to the instance
    (4, 2, 2, 4, 0),
    # Connections that the board does not know (from before a restart) are shared out to the two loaded models.
    (1, 0, 0, 2, 1),
    (4, 0, 0, 10, 0.5),
    (4, 2, 2, 14, 1),
    (4, 4, 0, 1, 0.25),  # HAProxy's count is behind the board's
    (4, 4, 0, 0, 0),  # HAProxy counts nobody: so it is
]


@pytest.mark.parametrize(("slots", "ours", "others", "counted", "expected"), WAITS)
def test_wait_for_a_slot(slots, ours, others, counted, expected):
    facts = asks(loads={} if counted is None else {"g0": counts(counted)})
    activity = Activity(in_flight={A: ours, B: others})
    where = spec("g0", max_connections=1000, num_parallel=slots)
    assert price(where, state(A, B), activity, facts)[1].wait_s == pytest.approx(expected * SERVICE_S)


def test_slots_of_a_model_that_ollama_forces_to_one():
    rules, activity = [ModelRule("a", num_parallel=1)], Activity(in_flight={A: 1})
    assert price(spec("g0", num_parallel=4), state(A), activity, rules=rules)[1].wait_s == SERVICE_S


@pytest.mark.parametrize(
    ("limit", "load", "expected"), [(4, (3, 0), 0), (4, (4, 0), 0.25), (4, (4, 7), 2), (1, (1, 0), 1)]
)
def test_wait_in_haproxys_queue(limit, load, expected):
    facts = asks(loads={"g0": counts(*load)})
    where = spec("g0", limit, num_parallel=100)
    assert price(where, state(A), None, facts)[1].wait_s == pytest.approx(expected * SERVICE_S)


LOADS = {
    "cold": (state(), None, LOAD_S),
    "loaded": (state(A), None, 0),
    "loaded, read at the age limit": (state(A, age_s=10), None, 0),
    "loaded, but read long ago": (state(A, age_s=10.1), None, LOAD_S / 2),
    "loading began just now": (state(), Activity(loading={A: NOW_S}), LOAD_S),
    "loading began a second ago": (state(), Activity(loading={A: NOW_S - 1}), LOAD_S - 1),
    "loading takes longer than expected": (state(), Activity(loading={A: NOW_S - 100}), 0),
    "its turn has not come": (state(), Activity(loading={B: NOW_S - 2, A: NOW_S - 1}), LOAD_S),
    "its turn came as the one before was done": (
        state(),
        Activity(loading={B: NOW_S - LOAD_S - 1, A: NOW_S - 2}),
        LOAD_S - 1,
    ),
}


@pytest.mark.parametrize(("reading", "activity", "expected"), LOADS.values(), ids=LOADS)
def test_time_to_load(reading, activity, expected):
    assert price(spec("g0"), reading, activity)[1].load_s == pytest.approx(expected)


BEHIND = {
    "nothing loads": (state(), {}, 0),
    "cold behind one that began just now": (state(), {B: NOW_S}, LOAD_S),
    "cold behind two": (state(), {B: NOW_S, C: NOW_S}, 2 * LOAD_S),
    "cold behind the rest of one": (state(), {B: NOW_S - 1}, LOAD_S - 1),
    "cold behind one that should be done": (state(), {B: NOW_S - 100}, 0),
    "loading behind an earlier one": (state(), {B: NOW_S - 2, A: NOW_S - 1}, LOAD_S - 2),
    "loading before a later one": (state(), {A: NOW_S - 2, B: NOW_S - 1}, 0),
    "cold behind two that wait for each other": (state(), {C: NOW_S - 1, B: NOW_S - 2}, 2 * LOAD_S - 2),
    "cold behind one that began when nothing loaded any more": (state(), {B: NOW_S - 100, C: NOW_S - 1}, LOAD_S - 1),
    "a loaded model passes all": (state(A), {B: NOW_S, C: NOW_S}, 0),
}


@pytest.mark.parametrize(("reading", "loading", "expected"), BEHIND.values(), ids=BEHIND)
def test_time_behind_other_loads(reading, loading, expected):
    assert price(spec("g0"), reading, Activity(loading=loading))[1].behind_s == pytest.approx(expected)


@pytest.mark.parametrize("now_s", [-1e6, 0.0, 1e6])
def test_it_does_not_matter_what_moment_the_clock_counts_from(now_s):
    activity = {"g0": Activity(loading={B: now_s - 2, C: now_s - 1})}
    choice = choose(asks(), fleet("g0"), Snapshot(now_s, {}, activity))
    assert only(choice, "g0").cost.behind_s == pytest.approx(2 * e.load_s(e.UNKNOWN_WEIGHTS_BYTES) - 2)


EVICTS = {
    # memory in GiB (ours takes 5, a loaded one 4), models allowed, loaded, in flight -> victims, busy ones waited for
    "room": (13, 3, (B, C), {}, 0, 0),
    "one of one": (8, 3, (B,), {}, 1, 0),
    "one of two": (9, 3, (B, C), {}, 1, 0),
    "both": (8, 3, (B, C), {}, 2, 0),
    "one too many": (99, 2, (B, C), {}, 1, 0),
    "the idle one goes": (12, 3, (B, C), {B: 3}, 1, 0),
    "all are busy": (12, 3, (B, C), {B: 1, C: 1}, 1, 1),
    "one of both is busy": (8, 3, (B, C), {B: 1}, 2, 1),
    "as many as there are": (5, 3, (B, C), {}, 2, 0),
}


@pytest.mark.parametrize(("gib", "allowed", "loaded", "busy", "victims", "drained"), EVICTS.values(), ids=EVICTS)
def test_price_of_a_load(gib, allowed, loaded, busy, victims, drained):
    where = spec("g0", vram_bytes=gib * GIB, max_loaded_models=allowed)
    price_s = price(where, state(*loaded), Activity(in_flight=busy), rules=SIZED)[1].price_s
    evictions_s = victims * (e.UNLOAD_S + LOAD_S) + drained * SERVICE_S
    assert price_s == pytest.approx(LOAD_PRICE * LOAD_S + evictions_s)


@pytest.mark.parametrize("reading", [state(), state(A)])
def test_a_load_that_is_paid_for_costs_nobody_more(reading):
    activity = Activity(in_flight={A: 1}, loading={A: NOW_S, B: NOW_S - 1})
    assert price(spec("g0", max_loaded_models=1), reading, activity)[1].price_s == 0


@pytest.mark.parametrize(("gib", "allowed"), [(99, 1), (5, 3)])
def test_eviction_of_a_model_on_the_cpu(gib, allowed):
    """It frees no memory, and counts as a model all the same."""
    warmth, found = price(spec("g0", vram_bytes=gib * GIB, max_loaded_models=allowed), state(B, vram_bytes=0))
    assert warmth is EVICT
    assert found.price_s == pytest.approx(LOAD_PRICE * LOAD_S + e.UNLOAD_S + LOAD_S)


def test_every_request_beside_ours_slows_both():
    facts = asks(loads={"g0": counts(3)})
    shared = price(spec("g0", num_parallel=9), state(A), Activity(in_flight={B: 3}), facts)[1]
    assert shared.total_s == shared.share_s == pytest.approx(3 * SHARE_PER_REQUEST * SERVICE_S)


def costs(facts, of, snapshot):
    """Cost by instance of those that may run the model."""
    candidates = choose(replace(facts, kind=Kind.INFERENCE, model=facts.model or A), of, snapshot).candidates
    return {one.instance: one.cost for one in candidates if one.exclusion is None}


@untimed
@given(situations())
def test_no_term_is_ever_negative(situation):
    for found in costs(*situation).values():
        assert min(found.wait_s, found.load_s, found.behind_s, found.price_s, found.share_s) >= 0


@untimed
@given(situations(), st.booleans())
def test_one_more_slot_never_makes_an_instance_dearer(situation, memory_is_known):
    """As long as the slot's own memory does not matter: so models' memory is given here, or no limit is."""
    facts, of, snapshot = situation
    rules = (ModelRule("*", vram_bytes=5 * GIB),) if memory_is_known else ()
    fewer = [one if memory_is_known else replace(one, vram_bytes=None) for one in of.instances]
    more = [replace(one, num_parallel=one.num_parallel + 1) for one in fewer]
    before, after = (costs(facts, FleetSpec(tuple(specs), rules), snapshot) for specs in (fewer, more))
    assert before.keys() == after.keys()
    assert all(after[name].total_s <= before[name].total_s for name in before)


@untimed
@given(situations(), st.integers(1, 50))
def test_more_requests_never_make_an_instance_cheaper(situation, extra):
    facts, of, snapshot = situation
    calm = {one.name: facts.loads.get(one.name, counts()) for one in of.instances}
    busy = {name: replace(load, connections=load.connections + extra) for name, load in calm.items()}
    before, after = (costs(replace(facts, loads=loads), of, snapshot) for loads in (calm, busy))
    assert before.keys() == after.keys()
    assert all(before[name].total_s <= after[name].total_s for name in before)
