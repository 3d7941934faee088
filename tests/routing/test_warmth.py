from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spoe_agent.routing import Activity, InstanceState, LoadedModel, ModelRule, Tier
from spoe_agent.routing.demand import Demand, Site
from spoe_agent.routing.estimates import AGAIN_WITHIN_S, GIB, WANTED
from spoe_agent.routing.memory import RUNNER_BYTES
from spoe_agent.routing.snapshot import Learned
from spoe_agent.routing.warmth import FIT_FRACTION, Standing, has_room_for_all, has_slot, residents, stand
from tests.routing.builders import NOW_S, A, B, C, asks, counts, fleet, here, moment, situations, spec, state, untimed

LOADED, LOADING, RELOAD, ROOM, EVICT = Tier
SIZED = [ModelRule("*", vram_bytes=4 * GIB)]
FREE = 4 * GIB + 2 * RUNNER_BYTES
"""What must be free beside another for a model of four GiB: both take more than /api/ps says."""
BESIDE_ONE = 4 * GIB + FREE
WIDE = {"max_loaded_models": 9}

TIERS = {
    "loaded": (spec("g0"), state(A, B), None, LOADED),
    "loading": (spec("g0"), state(), Activity(loading={A: NOW_S}), LOADING),
    "loading again though the list is older": (spec("g0"), state(A), Activity(loading={A: NOW_S}), LOADING),
    "empty": (spec("g0", vram_bytes=4 * GIB, max_loaded_models=1), state(), None, ROOM),
    "alone, a model is always tried": (spec("g0", vram_bytes=GIB), state(), None, ROOM),
    "room beside another": (spec("g0", vram_bytes=BESIDE_ONE), state(B), None, ROOM),
    "memory not known": (spec("g0"), state(B, C), None, ROOM),
    "memory is short by little": (spec("g0", vram_bytes=BESIDE_ONE - 1), state(B), None, EVICT),
    "a resident that is half on the CPU takes half": (
        spec("g0", vram_bytes=2 * GIB + FREE),
        state(B, vram_bytes=2 * GIB),
        None,
        ROOM,
    ),
    "a resident on the CPU alone takes nothing": (spec("g0", vram_bytes=FREE), state(B, vram_bytes=0), None, ROOM),
    "memory is short for what is loading": (
        spec("g0", vram_bytes=BESIDE_ONE - 1),
        state(),
        Activity(loading={B: 1}),
        EVICT,
    ),
    "room beside what is loading": (spec("g0", vram_bytes=BESIDE_ONE), state(), Activity(loading={B: 1}), ROOM),
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
    "never heard of": (spec("g0", vram_bytes=4 * GIB), InstanceState(), None, ROOM),
}


@pytest.mark.parametrize(("where", "reading", "activity", "expected"), TIERS.values(), ids=TIERS)
def test_tier(where, reading, activity, expected):
    assert stand(*here(where, reading, activity, rules=SIZED)).tier is expected


@pytest.mark.parametrize(("more", "expected"), [(1, ROOM), (-2, EVICT)])
def test_beside_others_a_fifth_of_what_is_free_stays_free(more, expected):
    size = 40 * GIB
    where = spec("g0", vram_bytes=4 * GIB + int(size / FIT_FRACTION) + more)
    assert stand(*here(where, state(B), rules=[ModelRule("*", vram_bytes=size)])).tier is expected


RELOADS = [
    # the instance's own setting, what the runner has, what the request asks -> how warm
    (None, 4096, None, LOADED),
    (None, 4096, 4096, LOADED),
    (None, 4096, 8192, RELOAD),
    (None, 8192, 4096, RELOAD),
    (8192, 8192, None, LOADED),
    (8192, 8192, 8192, LOADED),
    (8192, 8192, 4096, RELOAD),
    (8192, 4096, None, RELOAD),  # somebody asked for less before
    (4096, 8192, None, RELOAD),  # somebody asked for more before
    (4096, 8192, 8192, LOADED),
    (8192, 0, 4096, LOADED),  # an Ollama that does not say
    (None, 0, None, LOADED),
]


@pytest.mark.parametrize(("own", "has", "asked", "expected"), RELOADS)
def test_another_context_makes_ollama_load_again(own, has, asked, expected):
    found = here(spec("g0", context_length=own), state(A, context=has), facts=asks(num_ctx=asked))
    assert stand(*found) == Standing(expected)


UNASKED = {
    # setting, loaded unasked here before, most have here, has by itself, trained for, what it has now -> how warm
    "nothing tells": (None, {}, None, {}, {}, 1024, LOADED),
    "as the setting": (4096, {}, None, {}, {}, 4096, LOADED),
    "less than the setting, trained for less": (4096, {}, None, {}, {A: 2048}, 2048, LOADED),
    "less than it was trained for": (4096, {}, None, {}, {A: 2048}, 1024, RELOAD),
    "of its own, larger than the setting": (4096, {A: 16384}, 4096, {}, {}, 16384, LOADED),
    "of its own, smaller than the setting": (4096, {A: 2048}, 4096, {}, {}, 2048, LOADED),
    "as the setting, though its own is another": (4096, {A: 16384}, 4096, {}, {}, 4096, RELOAD),
    "as most, without a setting": (None, {B: 4096}, 4096, {}, {}, 4096, LOADED),
    "less than most, without a setting": (None, {B: 4096}, 4096, {}, {}, 1024, RELOAD),
    "of its own, as seen elsewhere": (None, {B: 4096}, 4096, {A: 16384}, {}, 16384, LOADED),
    "what was seen here comes first": (None, {A: 4096}, 4096, {A: 16384}, {}, 4096, LOADED),
}


@pytest.mark.parametrize(
    ("setting", "here_own", "usual", "own", "trained", "has", "expected"), UNASKED.values(), ids=UNASKED
)
def test_who_asks_for_no_context_wants_what_ollama_gives_unasked(setting, here_own, usual, own, trained, has, expected):
    where, facts = spec("g0", context_length=setting), asks()
    seen = moment(g0=state(A, context=has, own_contexts=here_own, usual_context=usual))
    known = replace(seen, trained=trained, own_contexts=own)
    assert stand(Demand.of(facts, fleet(where), known), Site.of(where, facts, known)).tier is expected


@pytest.mark.parametrize(
    ("has", "asked", "expected"),
    [
        ("", "", LOADED),
        ("num_batch=128", "num_batch=128", LOADED),
        ("num_batch=128", "", RELOAD),
        ("", "num_batch=128", RELOAD),
        ("num_batch=128", "num_gpu=0", RELOAD),
    ],
)
def test_other_options_of_a_runner_make_ollama_load_again_there_and_back(has, asked, expected):
    options = {A: has} if has else {}
    loaded = here(spec("g0"), state(A), Activity(options=options), asks(runner_options=asked))
    assert stand(*loaded).tier is expected
    loads = here(spec("g0"), state(), Activity(loading={A: NOW_S}, options=options), asks(runner_options=asked))
    assert stand(*loads).tier is (LOADING if expected is LOADED else RELOAD)


def test_a_model_that_is_yet_to_load_needs_what_its_context_takes():
    """On an instance whose file says nothing, others that were seen tell: 131,072 tokens would leave no room."""
    where = spec("g0", vram_bytes=60 * GIB, num_parallel=4)
    reading = state(B, context=4096, size_bytes=6 * GIB)
    for usual, own, expected in ((131_072, {}, EVICT), (4096, {}, ROOM), (4096, {A: 131_072}, EVICT)):
        known = replace(reading, own_contexts={B: usual, **own}, usual_context=usual)
        assert stand(*here(where, known)).tier is expected


LOADS = [
    # the instance's own setting, what the load under way was asked for, what the request asks -> how warm
    (None, None, None, LOADING),
    (None, None, 8192, LOADING),  # the setting is not known
    (4096, None, 8192, RELOAD),
    (4096, None, 4096, LOADING),
    (4096, 8192, 8192, LOADING),
    (4096, 8192, None, RELOAD),
    (None, 8192, 8192, LOADING),
    (None, 8192, 4096, RELOAD),
]


@pytest.mark.parametrize(("own", "first", "asked", "expected"), LOADS)
def test_who_asks_for_another_context_than_what_loads_waits_for_a_load_of_its_own(own, first, asked, expected):
    activity = Activity(loading={A: NOW_S}, contexts={} if first is None else {A: first})
    found = here(spec("g0", context_length=own), state(A, context=16384), activity, asks(num_ctx=asked))
    assert stand(*found) == Standing(expected)


def test_more_context_than_a_model_was_trained_for_is_cut_by_ollama_and_needs_no_reload():
    where, facts = spec("g0"), asks(num_ctx=200_000)
    snapshot = moment(g0=state(A, context=32768))
    for trained, expected in (({}, RELOAD), ({A: 32768}, LOADED), ({B: 32768}, RELOAD)):
        known = replace(snapshot, trained=trained)
        assert stand(Demand.of(facts, fleet(where), known), Site.of(where, facts, known)).tier is expected


def test_a_load_that_was_asked_for_more_than_the_model_can_do_has_what_it_can():
    where, facts = spec("g0"), asks(num_ctx=100_000)
    loads = {"g0": Activity(loading={A: NOW_S}, contexts={A: 100_000})}
    for trained, expected in (({}, LOADING), ({A: 32768}, LOADING)):
        known = replace(moment(loads, g0=state()), trained=trained)
        assert stand(Demand.of(facts, fleet(where), known), Site.of(where, facts, known)).tier is expected


def test_a_larger_context_may_need_others_to_go():
    where = spec("g0", vram_bytes=10 * GIB, context_length=4096)
    for asked, going in ((2048, ()), (100_000, (B,))):
        found = stand(*here(where, state(A, B, context=4096), facts=asks(num_ctx=asked)))
        assert (found.tier, found.gone) == (RELOAD, going)


def gone(where, reading, activity=None, learned=None, rules=SIZED, **others):
    """The victims of A there."""
    of = fleet(where, rules=rules)
    snapshot = moment({"g0": activity} if activity else None, learned or Learned(), g0=reading, **others)
    found = stand(Demand.of(asks(), of, snapshot), Site.of(of.instances[0], asks(), snapshot))
    assert found.tier is (EVICT if found.gone else ROOM)
    return list(found.gone)


OFTEN, HARDLY = WANTED / AGAIN_WITHIN_S, WANTED / AGAIN_WITHIN_S / 2

ALL = [
    # memory in GiB (each takes 4), models allowed, loaded, requests per second -> is there room for all
    (None, 1, (), {}, True),
    (None, 1, (), {B: OFTEN}, False),
    (None, 1, (), {B: HARDLY}, True),
    (None, 1, (), {A: OFTEN}, True),
    (None, 2, (), {B: OFTEN}, True),
    (None, 2, (C,), {B: OFTEN}, False),
    (None, 1, (), None, True),
    (11, 9, (), {B: OFTEN}, True),
    (9, 9, (), {B: OFTEN}, False),
    (9, 9, (), {B: HARDLY}, True),
]


@pytest.mark.parametrize(("gib", "allowed", "loaded", "rate_per_s", "expected"), ALL)
def test_room_for_all_that_is_in_use(gib, allowed, loaded, rate_per_s, expected):
    where = spec("g0", vram_bytes=None if gib is None else gib * GIB, max_loaded_models=allowed)
    snapshot = moment(learned=Learned(rate_per_s=rate_per_s), g0=state(*loaded))
    wanted = Demand.of(asks(), fleet(where, rules=SIZED), snapshot)
    assert has_room_for_all(wanted, Site.of(where, asks(), snapshot)) is expected


VICTIMS = {
    # memory in GiB (each takes 4), models allowed, loaded, in flight -> who goes
    "room": (4 + 4 + (FREE + RUNNER_BYTES) / GIB, 9, (B, C), {}, []),
    "nobody there": (1, 1, (), {}, []),
    "one of one": (8, 9, (B,), {}, [B]),
    "one of two": (4 + FREE / GIB, 9, (B, C), {}, [B]),
    "both": (4, 9, (B, C), {}, [B, C]),
    "alone it is tried, however large": (1, 9, (B, C), {}, [B, C]),
    "one too many": (99, 2, (B, C), {}, [B]),
    "two too many": (99, 1, (B, C), {}, [B, C]),
    "the idle one": (4 + FREE / GIB, 9, (B, C), {B: 3}, [C]),
    "the idle one first": (4, 9, (B, C), {B: 1}, [C, B]),
    "all are busy": (4 + FREE / GIB, 9, (B, C), {B: 1, C: 1}, [B]),
}


@pytest.mark.parametrize(("gib", "allowed", "loaded", "in_flight", "expected"), VICTIMS.values(), ids=VICTIMS)
def test_who_must_go(gib, allowed, loaded, in_flight, expected):
    where = spec("g0", vram_bytes=int(gib * GIB), max_loaded_models=allowed)
    assert gone(where, state(*loaded), Activity(in_flight=in_flight)) == expected


def test_the_least_missed_goes_first():
    where, rates = spec("g0", max_loaded_models=2), {B: 0.01, C: 0.0001}
    assert gone(where, state(B, C), learned=Learned(rate_per_s=rates)) == [C]
    assert gone(where, state(B, C), learned=Learned(rate_per_s={B: 0.0001, C: 0.01})) == [B]


def test_what_loads_faster_is_missed_less():
    where, slow = spec("g0", max_loaded_models=2), {(B, "g0"): 90.0, (C, "g0"): 3.0}
    assert gone(where, state(B, C), learned=Learned(load_s=slow)) == [C]


def test_what_is_loaded_elsewhere_too_is_missed_less():
    where = spec("g0", max_loaded_models=2)
    assert gone(where, state(B, C), g1=state(C)) == [C]
    assert gone(where, state(B, C), g1=state(B)) == [B]


def test_missed_counts_by_what_it_frees():
    """A large one that is missed a little more goes before a small one: one victim, not two."""
    reading = replace(state(B, C), loaded={B: LoadedModel(GIB, GIB), C: LoadedModel(9 * GIB, 9 * GIB)})
    learned = Learned(load_s={(B, "g0"): 10.0, (C, "g0"): 20.0})
    assert gone(spec("g0", max_loaded_models=2), reading, learned=learned) == [C]


def test_what_frees_no_memory_goes_all_the_same_when_it_is_a_model_too_many():
    assert gone(spec("g0", vram_bytes=99 * GIB, max_loaded_models=1), state(B, vram_bytes=0)) == [B]


def test_the_own_model_is_nobodys_victim():
    demand, where = here("g0", state(A, B), Activity(loading={A: NOW_S, C: NOW_S}))
    assert residents(demand, where) == [B, C]


REGRETS = [
    # rates, instances that have B -> part of its load that is missed
    (None, ("g0",), 1.0),
    (None, ("g0", "g1"), 0.5),
    (None, (), 1.0),  # it is only about to load
    ({B: 5.0}, ("g0",), 1.0),
    ({B: 0.0}, ("g0",), 0.0),
    ({}, ("g0",), 0.0),
]


@pytest.mark.parametrize(("rates", "have", "part"), REGRETS)
def test_regret(rates, have, part):
    learned = Learned(load_s={(B, "g0"): 10.0}, rate_per_s=rates)
    of = fleet(spec("g0", max_loaded_models=1), "g1")
    loads = {} if "g0" in have else {"g0": Activity(loading={B: NOW_S})}
    snapshot = moment(loads, learned, **{name: state(*([B] if name in have else [])) for name in ("g0", "g1")})
    found = stand(Demand.of(asks(), of, snapshot), Site.of(of.instances[0], asks(), snapshot))
    assert (found.gone, found.regret_s) == ((B,), pytest.approx(10.0 * part))


HAS_SLOT = {
    # the instance, its readings, in flight, loading, HAProxy's count, how warm, victims -> a slot
    "idle": (spec("g0"), state(A), {}, {}, None, LOADED, (), True),
    "its one slot is taken": (spec("g0"), state(A), {A: 1}, {}, None, LOADED, (), False),
    "one of four is free": (spec("g0", num_parallel=4), state(A), {A: 3}, {}, None, LOADED, (), True),
    "all four are taken": (spec("g0", num_parallel=4), state(A), {A: 4}, {}, None, LOADED, (), False),
    "other models have slots of their own": (spec("g0"), state(A, B), {B: 1}, {}, None, LOADED, (), True),
    "no connection is left": (spec("g0", 3), state(A, B), {B: 3}, {}, None, LOADED, (), False),
    "no connection is left, by HAProxy": (spec("g0", 3), state(B), {}, {}, 3, ROOM, (), False),
    "one connection is left": (spec("g0", 4), state(A, B), {B: 3}, {}, None, LOADED, (), True),
    "somebody unknown may have it": (spec("g0"), state(A), {}, {}, 1, LOADED, (), False),
    "half of somebody unknown": (spec("g0", num_parallel=2), state(A, B), {A: 1}, {}, 2, LOADED, (), False),
    "loading, the first waits for it": (spec("g0"), state(), {A: 1}, {A: NOW_S}, None, LOADING, (), False),
    "loading for four": (spec("g0", num_parallel=4), state(), {A: 1}, {A: NOW_S}, None, LOADING, (), True),
    "room": (spec("g0"), state(B), {B: 1}, {}, None, ROOM, (), True),
    "the other context needs a busy model to go": (spec("g0"), state(A, B), {B: 1}, {}, None, RELOAD, (B,), False),
    "the victim is idle": (spec("g0"), state(B, C), {B: 1}, {}, None, EVICT, (C,), True),
    "a victim is busy": (spec("g0"), state(B, C), {B: 1}, {}, None, EVICT, (C, B), False),
    "a victim is loading for somebody": (spec("g0"), state(), {B: 1}, {B: NOW_S}, None, EVICT, (B,), False),
    "loaded with another context, idle": (spec("g0", num_parallel=4), state(A), {}, {}, None, RELOAD, (), True),
    "loaded with another context, busy": (spec("g0", num_parallel=4), state(A), {A: 1}, {}, None, RELOAD, (), False),
}  # fmt: skip


@pytest.mark.parametrize(
    ("where", "reading", "in_flight", "loading", "counted", "warmth", "going", "expected"),
    HAS_SLOT.values(),
    ids=HAS_SLOT,
)
def test_whether_it_could_run_at_once(where, reading, in_flight, loading, counted, warmth, going, expected):
    facts = asks(loads={} if counted is None else {"g0": counts(counted)})
    found = here(where, reading, Activity(in_flight=in_flight, loading=loading), facts)
    assert has_slot(*found, Standing(warmth, going)) is expected


LEAVING = {
    # loaded, leaving, reserved for -> how warm, victims, a slot
    "it is to go": ((A, B), {A}, C, EVICT, (B,), False),
    "it was asked to go": ((A, B), {A}, "", EVICT, (B,), False),
    "another is to go": ((A, B), {B}, C, LOADED, (), True),
    "another is about to load": ((B,), {B}, C, ROOM, (), False),
    "another was asked to go": ((B,), {B}, "", ROOM, (), True),
    "it is about to load": ((B, C), {B}, A, ROOM, (), False),
    "its place is empty": ((), set(), A, ROOM, (), False),
}


@pytest.mark.parametrize(
    ("loaded", "leaving", "reserved", "tier", "victims", "expected"), LEAVING.values(), ids=LEAVING
)
def test_who_must_go_takes_nobody_and_where_a_load_is_to_come_no_other_begins(
    loaded, leaving, reserved, tier, victims, expected
):
    where = spec("g0", max_loaded_models=1 if tier is EVICT else 2)
    found = here(where, state(*loaded), Activity(leaving=frozenset(leaving), reserved=reserved))
    assert stand(*found)[:2] == (tier, victims)
    assert has_slot(*found, stand(*found)) is expected


@untimed
@given(situations(), st.integers(0, 3))
def test_victims_are_residents_enough_and_no_more(situation, index):
    """Without the last of them there is no room; a busy one goes only when no idle one is left."""
    facts, of, snapshot = situation
    facts = replace(facts, model=A, kind=asks().kind)
    demand, where = Demand.of(facts, of, snapshot), Site.of(of.instances[index % len(of.instances)], facts, snapshot)
    going, others = stand(demand, where).gone, residents(demand, where)
    if not going:
        return
    assert len(going) == len(set(going)) <= len(others)
    assert set(going) <= set(others)
    busy = [where.busy(name) >= 1 for name in going]
    assert busy == sorted(busy)
    if any(busy):
        assert all(where.busy(name) >= 1 for name in others if name not in going)
    assert has_slot(demand, where, stand(demand, where)) <= (not any(busy))
    missed_s = sum(demand.regrets[name] * demand.load_of(name, where.spec) for name in going)
    assert stand(demand, where).regret_s == pytest.approx(missed_s)
    assert stand(demand, replace_loaded(where, [A, *(name for name in others if name not in going[:-1])])).gone
    assert not stand(demand, replace_loaded(where, [A, *(name for name in others if name not in going)])).gone


def replace_loaded(where, names):
    """The same instance with only these models."""
    reading = replace(where.state, loaded={name: one for name, one in where.state.loaded.items() if name in names})
    activity = replace(
        where.activity, loading={name: at_s for name, at_s in where.activity.loading.items() if name in names}
    )
    return Site(where.spec, reading, activity, where.gpus, where.load)
