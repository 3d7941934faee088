from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from spoe_agent.routing import Activity, FleetSpec, InstanceState, Kind, ModelRule, Policy, Snapshot, Tier, choose
from spoe_agent.routing import estimates as e
from spoe_agent.routing.estimates import GIB
from spoe_agent.routing.names import canonical
from spoe_agent.routing.snapshot import NOTHING, Learned
from spoe_agent.routing.specs import Weights
from tests.routing.builders import (
    FOUR_GIB,
    NOW_S,
    A,
    B,
    C,
    asks,
    counts,
    fleet,
    moment,
    only,
    situations,
    situations_with_an_idle_warm_instance,
    spec,
    state,
    untimed,
)

LOADED, LOADING, RELOAD, ROOM, EVICT = Tier
D = canonical("d")
LOAD_S = e.usual_load_s(NOTHING, A, FOUR_GIB)
SERVICE_S = e.service_s(NOTHING, A, "g0", FOUR_GIB)
SIZED = [ModelRule("*", vram_bytes=4 * GIB)]
WEIGHTS = Weights(load=2.0, evict=3.0, spread=5.0, share=0.125, prefix=0.5)
"""Each another, so that no test passes by mistaking one for another."""
WEIGHED = Policy(weights=WEIGHTS)


def price(where, reading, activity=None, facts=None, rules=(), **live):
    """Tier and cost of model A on the first instance of a fleet."""
    snapshot = moment({"g0": activity} if activity else None, g0=reading, **live)
    others = [spec(name) for name in live if name.startswith("g")]
    choice = choose(facts or asks(), fleet(where, *others, rules=rules, policy=WEIGHED), snapshot)
    candidate = only(choice, "g0")
    assert candidate.exclusion is None
    return candidate.tier, candidate.cost


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
    (4, 4, 0, 0, 0.25),  # the board strikes off what is lost, not the decision
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
    assert price(spec("g0", num_parallel=4), state(A), activity, asks(embeds=True))[1].wait_s == SERVICE_S


@pytest.mark.parametrize(
    ("limit", "load", "expected"), [(4, (3, 0), 0), (4, (4, 0), 0.25), (4, (4, 7), 2), (1, (1, 0), 1)]
)
def test_wait_in_haproxys_queue(limit, load, expected):
    facts = asks(loads={"g0": counts(*load)})
    where = spec("g0", limit, num_parallel=100)
    assert price(where, state(A), None, facts)[1].wait_s == pytest.approx(expected * SERVICE_S)


LOADS = {
    "cold": (state(D), None, LOAD_S),
    "loaded": (state(A), None, 0),
    "loaded, read at the age limit": (state(A, age_s=10), None, 0),
    "loaded, but read long ago": (state(A, age_s=10.1), None, LOAD_S / 2),
    "loading began just now": (state(D), Activity(loading={A: NOW_S}), LOAD_S),
    "loading began a second ago": (state(D), Activity(loading={A: NOW_S - 1}), LOAD_S - 1),
    "loading takes longer than expected": (state(D), Activity(loading={A: NOW_S - 100}), 0),
    "its turn has not come": (state(D), Activity(loading={B: NOW_S - 1, A: NOW_S - 0.5}), LOAD_S),
    "its turn came as the one before was done": (
        state(D),
        Activity(loading={B: NOW_S - LOAD_S - 1, A: NOW_S - 2}),
        LOAD_S - 1,
    ),
    "loading is done, as an answer told": (state(D), Activity(loading={A: NOW_S - 1}, answered={A: NOW_S}), 0),
    "the one before was done half a second ago": (
        state(D),
        Activity(loading={B: NOW_S - 1.5, A: NOW_S - 1}, answered={B: NOW_S - 0.5}),
        LOAD_S - 0.5,
    ),
    "the one before was done sooner than expected": (
        state(D),
        Activity(loading={B: NOW_S - LOAD_S, A: NOW_S - 1}, answered={B: NOW_S}),
        LOAD_S,
    ),
}


@pytest.mark.parametrize(("reading", "activity", "expected"), LOADS.values(), ids=LOADS)
def test_time_to_load(reading, activity, expected):
    assert price(spec("g0"), reading, activity)[1].load_s == pytest.approx(expected)


BEHIND = {
    "nothing loads": (state(D), {}, 0),
    "cold behind one that began just now": (state(D), {B: NOW_S}, LOAD_S),
    "cold behind two": (state(D), {B: NOW_S, C: NOW_S}, 2 * LOAD_S),
    "cold behind the rest of one": (state(D), {B: NOW_S - 1}, LOAD_S - 1),
    "cold behind one that should be done": (state(D), {B: NOW_S - 100}, 0),
    "loading behind an earlier one": (state(D), {B: NOW_S - 1, A: NOW_S - 0.5}, LOAD_S - 1),
    "loading before a later one": (state(D), {A: NOW_S - 2, B: NOW_S - 1}, 0),
    "cold behind two that wait for each other": (state(D), {C: NOW_S - 1, B: NOW_S - 2}, 2 * LOAD_S - 2),
    "cold behind one that began when nothing loaded any more": (state(D), {B: NOW_S - 100, C: NOW_S - 1}, LOAD_S - 1),
    "a loaded model passes all": (state(A), {B: NOW_S, C: NOW_S}, 0),
}


@pytest.mark.parametrize(("reading", "loading", "expected"), BEHIND.values(), ids=BEHIND)
def test_time_behind_other_loads(reading, loading, expected):
    assert price(spec("g0"), reading, Activity(loading=loading))[1].behind_s == pytest.approx(expected)


@pytest.mark.parametrize("now_s", [-1e6, 0.0, 1e6])
def test_it_does_not_matter_what_moment_the_clock_counts_from(now_s):
    activity = {"g0": Activity(loading={B: now_s - 2, C: now_s - 1})}
    choice = choose(asks(), fleet("g0"), Snapshot(now_s, {"g0": InstanceState(loaded=state(D).loaded)}, activity))
    assert only(choice, "g0").cost.behind_s == pytest.approx(
        2 * e.usual_load_s(NOTHING, A, e.UNKNOWN_WEIGHTS_BYTES) - 2
    )


def test_waiting_behind_those_who_are_held():
    """They take the slots of all instances where the model is warm, and come first even where a slot is free."""
    where = spec("g0", num_parallel=2)
    alone = price(where, state(A), waiting=4)[1].wait_s
    assert alone == pytest.approx(2 * SERVICE_S)
    assert price(where, state(A), waiting=4, g1=state(A), g2=state())[1].wait_s == pytest.approx(4 / 3 * SERVICE_S)
    loading = {"g0": Activity(in_flight={A: 1}, loading={A: NOW_S})}
    snapshot = Snapshot(NOW_S, {"g0": state()}, loading, waiting=4)
    assert only(choose(asks(), fleet(where), snapshot), "g0").cost.wait_s == pytest.approx(2 * SERVICE_S)


def test_nobody_waits_for_an_instance_that_is_yet_to_load_the_model():
    assert price("g0", state(), waiting=9)[1].wait_s == 0


def test_service_and_load_are_those_of_the_instance():
    learned = Learned({(A, "g0"): 40.0, (A, "g1"): 1.0}, {(A, "g0"): 90.0, (A, "g1"): 1.0})
    assert price("g0", state(A), Activity(in_flight={A: 1}), learned=learned)[1].wait_s == pytest.approx(40.0)
    assert price("g0", state(), learned=learned)[1].load_s == pytest.approx(90.0)
    assert price("g0", state(D), Activity(loading={B: NOW_S - 1}), learned=Learned(load_s={(B, "g0"): 11.0}))[
        1
    ].behind_s == pytest.approx(10.0)


EVICTS = {
    # memory in GiB (each takes 4, and 0.6 more than /api/ps says), models allowed, loaded, in flight
    # -> victims, service times until they are gone
    "room": (14, 9, (B, C), {}, 0, 0),
    "one of one": (8, 9, (B,), {}, 1, 0),
    "one of two": (10, 9, (B, C), {}, 1, 0),
    "both": (8, 9, (B, C), {}, 2, 0),
    "one too many": (99, 2, (B, C), {}, 1, 0),
    "the idle one goes": (12, 9, (B, C), {B: 3}, 1, 0),
    "all are busy": (12, 9, (B, C), {B: 1, C: 1}, 1, 1),
    "one of both is busy": (8, 9, (B, C), {B: 1}, 2, 1),
    "as many as there are": (4, 9, (B, C), {}, 2, 0),
}


@pytest.mark.parametrize(("gib", "allowed", "loaded", "busy", "victims", "drained"), EVICTS.values(), ids=EVICTS)
def test_price_of_a_load(gib, allowed, loaded, busy, victims, drained):
    where = spec("g0", vram_bytes=int(gib * GIB), max_loaded_models=allowed)
    found = price(where, state(*loaded), Activity(in_flight=busy), rules=SIZED)[1]
    assert found.price_s == pytest.approx((WEIGHTS.load + victims * WEIGHTS.evict) * LOAD_S)
    assert found.behind_s == pytest.approx(max(0, victims - 1) * e.UNLOAD_S)
    assert found.wait_s == pytest.approx(drained * SERVICE_S)


@pytest.mark.parametrize("loaded", [(), (B,)], ids=["room", "eviction"])
def test_those_who_wait_share_the_price_of_a_load(loaded):
    where = spec("g0", max_loaded_models=1)
    alone, fourth = (price(where, state(*loaded), waiting=waiting)[1] for waiting in (0, 3))
    assert fourth.price_s == pytest.approx(alone.price_s / 4)
    assert fourth.load_s == alone.load_s == pytest.approx(LOAD_S)


def test_a_victim_that_nobody_wants_costs_nobody_anything():
    where = spec("g0", max_loaded_models=1)
    found = price(where, state(B), learned=Learned(rate_per_s={A: 1.0}))[1]
    assert found.price_s == pytest.approx(WEIGHTS.load * LOAD_S)


@pytest.mark.parametrize("busy", [0, 1])
@pytest.mark.parametrize(("beside", "begins_s"), [((), 0.0), ((B,), e.UNLOAD_S)])
def test_loading_again_with_another_context(beside, begins_s, busy):
    """The model is its own victim; while it is in use, the load waits for that to end."""
    where, activity = spec("g0", num_parallel=4), Activity(in_flight={A: 1} if busy else {})
    warmth, found = price(where, state(A, *beside, context=4096), activity, asks(num_ctx=8192))
    assert warmth is RELOAD
    assert (found.load_s, found.behind_s) == pytest.approx((LOAD_S, begins_s))
    assert found.price_s == pytest.approx(WEIGHTS.load * LOAD_S)
    assert found.wait_s == pytest.approx(busy * SERVICE_S)


@pytest.mark.parametrize("reading", [state(), state(A)])
def test_a_load_that_is_paid_for_costs_nobody_more(reading):
    activity = Activity(in_flight={A: 1}, loading={A: NOW_S, B: NOW_S - 1})
    assert price(spec("g0", max_loaded_models=1), reading, activity)[1].price_s == 0


@pytest.mark.parametrize(("gib", "allowed"), [(99, 1), (4, 3)])
def test_eviction_of_a_model_on_the_cpu(gib, allowed):
    """It frees no memory, and counts as a model all the same."""
    where = spec("g0", vram_bytes=gib * GIB, max_loaded_models=allowed)
    warmth, found = price(where, state(B, vram_bytes=0), rules=SIZED)
    assert warmth is EVICT
    assert found.price_s == pytest.approx((WEIGHTS.load + WEIGHTS.evict) * LOAD_S)


SPREADS = [
    # how busy the warm instance and this one were, requests per second of A and of B -> seconds that a copy here saves
    (0.0, 0.0, {A: 1.0}, 0.0),
    (4.0, 0.0, None, 0.0),
    (4.0, 0.0, {}, 0.0),
    (2.0, 2.0, {A: 1.0}, 0.0),
    (1.0, 2.0, {A: 1.0}, 0.0),
    (2.0, 0.0, {A: 1e-5}, 5.0 * 0.125 * 2.0 * SERVICE_S * 1e-5 * 3600 / 2),
    (2.0, 1.0, {A: 1e-5}, 5.0 * 0.125 * 1.0 * SERVICE_S * 1e-5 * 3600 / 2),
    (2.0, 0.0, {A: 1e-5, B: 1e-5}, 5.0 * 0.125 * 2.0 * SERVICE_S * 1e-5 * 3600 / 2),  # B is hardly ever asked for
    (2.0, 0.0, {A: 1e-5, B: 1.0}, 5.0 * 0.125 * 2.0 * SERVICE_S * 1e-5 * 300 / 2),  # B will need the room
    (50.0, 0.0, {A: 10.0}, 3.0 * LOAD_S),  # no more than the load and its price
]


@pytest.mark.parametrize(("there", "here", "rate_per_s", "saved_s"), SPREADS)
def test_a_copy_elsewhere_saves_the_requests_to_come(there, here, rate_per_s, saved_s):
    where, activity = spec("g0", max_loaded_models=1), {"g0": Activity(mean_in_flight=here)}
    activity["g1"] = Activity(mean_in_flight=there)
    snapshot = Snapshot(NOW_S, {"g0": state(), "g1": state(A)}, activity, Learned(rate_per_s=rate_per_s))
    found = only(choose(asks(), fleet(where, "g1", policy=WEIGHED), snapshot), "g0").cost
    assert found.price_s == pytest.approx(WEIGHTS.load * LOAD_S - saved_s)


@pytest.mark.parametrize("load", [0.1, 0.3, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("seconds", [0.3, 2.56, 7.7])
def test_a_copy_that_saves_much_is_free_and_no_cheaper(load, seconds):
    """Or rounding would decide against an idle instance that has the model."""
    activity = {"g0": Activity(mean_in_flight=0.0), "g1": Activity(mean_in_flight=50.0)}
    learned = Learned(load_s={(A, "g0"): seconds}, rate_per_s={A: 10.0})
    snapshot = Snapshot(NOW_S, {"g0": state(D), "g1": state(A)}, activity, learned)
    of = fleet("g0", "g1", policy=Policy(weights=Weights(load=load)))
    assert only(choose(asks(), of, snapshot), "g0").cost.total_s == 0.0


def test_a_first_copy_saves_nobody_anything():
    activity = {"g1": Activity(mean_in_flight=9.0)}
    snapshot = Snapshot(NOW_S, {"g0": state(), "g1": state()}, activity, Learned(rate_per_s={A: 1.0}))
    found = only(choose(asks(), fleet("g0", "g1", policy=WEIGHED), snapshot), "g0").cost
    assert found.price_s == pytest.approx(WEIGHTS.load * LOAD_S)


PREFIXES = {
    # where the conversation was, its readings, requests there -> part of the prefill that is saved
    "here": ("g0", state(A), 0, 1),
    "here, beside another": ("g0", state(A), 1, 1),
    "elsewhere": ("g1", state(A), 0, 0),
    "nowhere": (None, state(A), 0, 0),
    "here, but no slot is free": ("g0", state(A), 2, 0),
    "here, but unloaded since": ("g0", state(), 0, 0),
}


@pytest.mark.parametrize(("home", "reading", "running", "part"), PREFIXES.values(), ids=PREFIXES)
def test_a_cached_prefix_saves_its_prefill(home, reading, running, part):
    facts, where = asks(body_bytes=40_000), spec("g0", num_parallel=2)
    found = price(where, reading, Activity(in_flight={A: running}), facts, home=home)[1]
    assert found.prefix_s == pytest.approx(-part * WEIGHTS.prefix * e.prefill_s(FOUR_GIB, 40_000))
    assert (found.prefix_s < 0) is bool(part)


SHARES = {
    # in flight, HAProxy's count, used by others (A takes 1 s, B 5 s, C 7 s) -> seconds that are taken from each other
    "one of the same model": ({A: 1}, 1, {}, 0.3 * 2),
    "three of it": ({A: 3}, 3, {}, 0.3 * 6),
    "one of another model": ({B: 1}, 1, {}, 5 + 1),
    "three of it take turns with ours as one": ({B: 3}, 3, {}, 5 + 3),
    "two other models": ({B: 1, C: 2}, 3, {}, 5 + 7 + 3),
    "where ours runs anyway it only grows": ({A: 1, B: 2}, 3, {}, 5 + 0.3 * (2 + 2)),
    "some that only HAProxy knows": ({}, 2, {}, 2),
    "others' use of another model": ({}, 0, {B: 4.0}, 4 + 1),
    "others' use of the same one": ({}, 0, {A: 4.0}, 1),
}


@pytest.mark.parametrize(("in_flight", "counted", "others", "expected"), SHARES.values(), ids=SHARES)
def test_what_requests_on_the_same_gpus_take_from_each_other(in_flight, counted, others, expected):
    learned = Learned({(A, "g0"): 1.0}, usual_service_s={B: 5.0, C: 7.0})
    facts, reading = asks(loads={"g0": counts(counted)}), state(A, B, C, others=others)
    found = price(spec("g0", num_parallel=9), reading, Activity(in_flight=in_flight), facts, learned=learned)[1]
    assert found.share_s == pytest.approx(WEIGHTS.share * expected)


def judged(facts, of, snapshot):
    """Each instance that may run the model, as a Candidate."""
    candidates = choose(replace(facts, kind=Kind.INFERENCE, model=facts.model or A), of, snapshot).candidates
    return {one.instance: one for one in candidates if one.exclusion is None}


@untimed
@given(situations())
def test_no_term_is_ever_negative_but_what_is_saved(situation):
    for one in judged(*situation).values():
        found = one.cost
        assert min(found.wait_s, found.load_s, found.behind_s, found.share_s, -found.prefix_s) >= 0
        assert found.price_s + found.load_s >= -1e-9
        assert found.prefix_s == 0 or one.tier is LOADED


def never_dearer(before, after):
    """Whoever may serve, may still; and nowhere is the cost higher, as long as the same models would go for it."""
    assert before.keys() == after.keys()
    for name, one in after.items():
        if one.victims == before[name].victims:
            assert one.cost.total_s <= before[name].cost.total_s + 1e-9
            assert one.has_slot >= before[name].has_slot


@untimed
@given(situations(), st.booleans(), st.data())
def test_one_more_slot_never_makes_an_instance_dearer(situation, memory_is_known, data):
    """As long as the slot's own memory does not matter: so models' memory is given here, or no limit is, by the file or
    by what others did not find.
    """
    facts, of, snapshot = situation
    loaded = [one for reading in snapshot.instances.values() for one in reading.loaded.values()]
    assume(memory_is_known or not any(one.spilled_bytes for one in loaded))
    rules = (ModelRule("*", vram_bytes=5 * GIB),) if memory_is_known else ()
    fewer = [one if memory_is_known else replace(one, vram_bytes=None) for one in of.instances]
    snapshot = snapshot if memory_is_known else replace(snapshot, gpus={})
    index = data.draw(st.sampled_from([None, *range(len(fewer))]))
    more = [
        replace(one, num_parallel=one.num_parallel + 1) if index in (None, place) else one
        for place, one in enumerate(fewer)
    ]
    before, after = (judged(facts, FleetSpec(tuple(specs), rules, of.policy), snapshot) for specs in (fewer, more))
    never_dearer(before, after)


@untimed
@given(situations(), st.integers(1, 20))
def test_a_higher_limit_of_connections_never_makes_an_instance_dearer(situation, more):
    facts, of, snapshot = situation
    wider = replace(
        of, instances=tuple(replace(one, max_connections=one.max_connections + more) for one in of.instances)
    )
    never_dearer(judged(facts, of, snapshot), judged(facts, wider, snapshot))


@untimed
@given(situations(), st.integers(1, 50))
def test_fewer_requests_never_make_an_instance_dearer(situation, extra):
    facts, of, snapshot = situation
    calm = {one.name: facts.loads.get(one.name, counts()) for one in of.instances}
    busy = {name: load._replace(connections=load.connections + extra) for name, load in calm.items()}
    before, after = (judged(replace(facts, loads=loads), of, snapshot) for loads in (busy, calm))
    never_dearer(before, after)


@untimed
@given(situations(), st.integers(1, 50))
def test_fewer_who_wait_never_make_an_instance_dearer_but_by_their_part_of_a_load(situation, extra):
    facts, of, snapshot = situation
    longer = replace(snapshot, waiting=snapshot.waiting + extra)
    before, after = judged(facts, of, longer), judged(facts, of, snapshot)
    shared = {
        name: one._replace(cost=one.cost._replace(price_s=before[name].cost.price_s)) for name, one in after.items()
    }
    never_dearer(before, shared)
    for name, one in after.items():
        payers = (1 + longer.waiting) / (1 + snapshot.waiting)
        assert one.cost.price_s == pytest.approx(payers * before[name].cost.price_s)


@untimed
@given(situations_with_an_idle_warm_instance())
def test_nothing_costs_less_than_an_idle_loaded_instance_but_one_that_knows_the_conversation(situation):
    found = judged(*situation)
    if "g0" not in found:
        return
    assert found["g0"].cost.total_s == found["g0"].cost.prefix_s <= 0
    for name, one in found.items():
        assert one.cost.total_s >= -1e-9 or situation[-1].home == name
