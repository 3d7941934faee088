"""Which models are kept loaded, and which go."""

from dataclasses import replace

import pytest

from spoe_agent.routing import Activity, Health, LoadedModel, ModelRule
from spoe_agent.routing.estimates import GIB, service_s
from spoe_agent.routing.keep import BEFORE_S, BUSY, LEAST_S, Touch, touches
from spoe_agent.routing.names import canonical
from spoe_agent.routing.snapshot import NOTHING, Learned
from tests.routing.builders import FOUR_GIB, A, B, C, fleet, moment, spec, state

WALL_S = 1.7e9
OFTEN, ONCE, HARDLY = 0.01, 0.001, 0.0001
"""Requests per second: of the last, one in three hours."""
BUSY_PER_S = 1.1 * BUSY / service_s(NOTHING, B, "g0", FOUR_GIB)


def loaded(left_s, context=4096):
    return LoadedModel(2 * GIB, 2 * GIB, context, None if left_s is None else WALL_S + left_s)


def with_models(health=Health.UP, **left_s):
    """Readings of an instance that has models loaded which go in so many seconds."""
    models = {canonical(name): loaded(left) for name, left in left_s.items()}
    return replace(state(), loaded=models, health=health)


def kept(instances, rates, activity=None, of=None):
    snapshot = replace(moment(activity or {}, **instances), learned=Learned(rate_per_s=rates))
    return [(touch.instance, touch.model) for touch in touches(of or fleet(*instances), snapshot, WALL_S)]


@pytest.mark.parametrize(
    ("left_s", "is_kept"),
    [
        pytest.param(BEFORE_S + 1, False, id="it stays for long yet"),
        pytest.param(BEFORE_S, True, id="it goes soon"),
        pytest.param(LEAST_S, True, id="just in time"),
        pytest.param(LEAST_S - 1, False, id="too late"),
        pytest.param(-5.0, False, id="its time is over, as of one that runs for others"),
        pytest.param(None, False, id="the server does not say when"),
        pytest.param(float("inf"), False, id="it stays for ever"),
    ],
)
def test_shortly_before_it_goes(left_s, is_kept):
    assert bool(kept({"g0": with_models(a=left_s)}, {A: OFTEN})) is is_kept


@pytest.mark.parametrize(
    ("rates", "is_kept"),
    [({A: OFTEN}, True), ({A: ONCE}, True), ({A: HARDLY}, False), ({}, False), (None, False)],
)
def test_what_will_be_wanted(rates, is_kept):
    assert bool(kept({"g0": with_models(a=10)}, rates)) is is_kept


@pytest.mark.parametrize(
    ("stays", "rates", "is_kept"),
    [(True, {}, True), (True, {A: OFTEN}, True), (False, {A: OFTEN}, False), (None, {}, False)],
)
def test_what_its_rule_says(stays, rates, is_kept):
    of = replace(fleet("g0"), rules=(ModelRule("a", stays=stays),))
    assert bool(kept({"g0": with_models(a=10)}, rates, of=of)) is is_kept


def test_what_is_to_stay_goes_where_another_has_no_room():
    of = replace(fleet("g0"), rules=(ModelRule("a", stays=True),))
    full = {"g0": with_models(a=10, c=200, d=200)}
    assert kept(full, {B: HARDLY}, of=of)
    assert not kept(full, {B: OFTEN}, of=of)


@pytest.mark.parametrize(
    ("here", "other", "rates", "expected"),
    [
        pytest.param({}, {"c": 200, "d": 200}, {A: OFTEN, B: OFTEN}, [("g0", A)], id="b would have room beside it"),
        pytest.param({"c": 200}, {}, {A: OFTEN, B: OFTEN}, [("g0", A)], id="b would have room elsewhere"),
        pytest.param({"c": 200}, {"d": 200, "e": 200}, {A: OFTEN, B: OFTEN}, [], id="b would have no room"),
        pytest.param({"c": 200}, {"d": 200, "e": 200}, {A: OFTEN, B: HARDLY}, [("g0", A)], id="nobody asks for b"),
        pytest.param({"b": 200}, {"d": 200, "e": 200}, {A: OFTEN, B: OFTEN}, [("g0", A)], id="b is there"),
        pytest.param({"b": 200}, {"d": 200, "e": 200}, {A: OFTEN, B: BUSY_PER_S}, [], id="b is busy: no room for two"),
        pytest.param({"b": 200}, {"d": 200}, {A: OFTEN, B: BUSY_PER_S}, [("g0", A)], id="b is busy: room for two"),
        pytest.param({"b": 200}, {"b": 200, "d": 200}, {A: OFTEN, B: BUSY_PER_S}, [("g0", A)], id="b is everywhere"),
        pytest.param({"b": 10}, {}, {A: OFTEN, B: OFTEN}, [("g0", A), ("g0", B)], id="both go"),
        pytest.param({}, {"a": 200}, {A: OFTEN}, [], id="another copy stays"),
        pytest.param({}, {"a": 10}, {A: OFTEN}, [], id="two idle copies: whichever goes first"),
    ],
)
def test_where_whatever_else_may_be_loaded_would_still_have_room(here, other, rates, expected):
    of = fleet(*(spec(name, max_loaded_models=2) for name in ("g0", "g1")))
    instances = {"g0": with_models(a=10, **here), "g1": with_models(**other)}

    assert kept(instances, rates, of=of) == expected


def test_memory_is_room_too():
    of = fleet(spec("g0", vram_bytes=12 * GIB, context_length=4096))

    assert kept({"g0": with_models(a=10)}, {A: OFTEN, B: OFTEN}, of=of) == [("g0", A)]
    of = fleet(spec("g0", vram_bytes=6 * GIB, context_length=4096))
    assert kept({"g0": with_models(a=10)}, {A: OFTEN, B: OFTEN}, of=of) == []


@pytest.mark.parametrize(
    "activity",
    [
        pytest.param(Activity(in_flight={A: 1}), id="it runs: its time does not"),
        pytest.param(Activity(leaving=frozenset([A])), id="it is to go"),
        pytest.param(Activity(reserved=C), id="the instance is being emptied"),
    ],
)
def test_not_what_is_used_or_must_go(activity):
    assert kept({"g0": with_models(a=10)}, {A: OFTEN}, {"g0": activity}) == []


def test_a_copy_that_loads_elsewhere_is_another() -> None:
    instances = {"g0": with_models(a=10), "g1": with_models()}

    assert kept(instances, {A: OFTEN}, {"g1": Activity(loading={A: 0.0})}) == []
    assert kept(instances, {A: OFTEN}, {"g1": Activity(loading={B: 0.0})}) == [("g0", A)]


@pytest.mark.parametrize(
    "doubt",
    [{"health": Health.SUSPECT}, {"health": Health.DRAINED}, {"loads_in_doubt": True}, {"deleted": frozenset({A})}],
)
def test_nobody_in_doubt_is_asked(doubt):
    assert kept({"g0": replace(with_models(a=10), **doubt)}, {A: OFTEN}) == []


def test_it_is_asked_for_with_the_context_that_it_has():
    snapshot = replace(moment(g0=with_models(a=10)), learned=Learned(rate_per_s={A: OFTEN}))

    assert list(touches(fleet("g0"), snapshot, WALL_S)) == [Touch("g0", A, 4096)]


def test_what_other_options_loaded_is_left_alone():
    """A touch has none: Ollama would load the model anew."""
    with_options = {"g0": Activity(options={A: "num_batch=128"})}
    assert kept({"g0": with_models(a=10)}, {A: OFTEN}, with_options) == []
    assert kept({"g0": with_models(a=10)}, {A: OFTEN}, {"g0": Activity(options={B: "num_batch=128"})}) != []
