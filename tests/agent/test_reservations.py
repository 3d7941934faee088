from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spoe_agent.agent.ending import Ending
from spoe_agent.agent.grant import Grant
from spoe_agent.agent.reservations import PATIENCE_S
from spoe_agent.routing import Health, InstanceState, ModelRule, Tier
from spoe_agent.routing.names import canonical
from tests.rigs import HOLD, HOLD_S, ROUTE, A, B, Held, asks

C = canonical("c")


def crowded(slots=1, **fields):
    """Instances with room for one model, which B has and keeps busy; A is held."""
    rig = Held(slots, loaded=(B,), **fields)
    rig.agent.fleet = replace(
        rig.agent.fleet, instances=tuple(replace(one, max_loaded_models=1) for one in rig.agent.fleet.instances)
    )
    for number in range(len(rig.agent.fleet.instances)):
        assert rig.ask(f"b0{number}" if number else "b0", model=B) == [ROUTE]
    assert rig.ask("a0", model=A) == [HOLD]
    return rig


def overdue(rig):
    rig.clock.now_s += PATIENCE_S
    rig.agent.tick()


def test_a_model_that_is_always_busy_does_not_starve_one_that_needs_its_place():
    rig = crowded(slots=2)
    overdue(rig)
    assert rig.ask("b1", model=B) == [HOLD], "B gets no more while its place is being emptied"
    rig.read("g0", B)
    assert rig.names() == []
    rig.agent.ended("b0")
    ((name, choice),) = rig.granted
    assert (name, choice.tier, choice.victims) == ("a0", Tier.EVICT, (B,))
    assert rig.in_flight() == {"g0": {A: 1}}
    rig.read("g0", B)  # it is still unloading
    assert rig.names() == ["a0"]
    rig.read("g0", A)
    rig.agent.ended("a0")
    assert rig.names() == ["a0", "b1"]


def test_until_then_a_busy_model_keeps_its_place():
    rig = crowded(slots=2)
    rig.clock.now_s += PATIENCE_S - 0.1
    rig.agent.tick()
    assert rig.ask("b1", model=B) == [ROUTE]


def test_a_place_is_not_emptied_for_somebody_who_left():
    rig = crowded(slots=2)
    overdue(rig)
    assert rig.ask("b1", model=B) == [HOLD]
    rig.agent.ended("a0")
    assert rig.names() == ["b1"]
    assert rig.board.activity("g0").leaving == frozenset()


def test_whoever_is_turned_away_leaves_no_place_empty():
    rig = crowded(slots=2)
    overdue(rig)
    rig.clock.now_s += HOLD_S
    rig.agent.tick()
    assert rig.names() == ["a0"]
    assert rig.ask("b1", model=B) == [ROUTE]


def test_a_slot_elsewhere_ends_the_emptying():
    rig = crowded(slots=2, instances=("g0", "g1"))
    overdue(rig)
    emptied = next(name for name in ("g0", "g1") if rig.board.activity(name).reserved)
    other = {"g0": "g1", "g1": "g0"}[emptied]
    rig.read(other, A)
    assert [(name, choice.instance) for name, choice in rig.granted] == [("a0", other)]
    assert not rig.board.activity(emptied).reserved


def test_only_one_place_is_emptied_for_a_model_and_only_one_model_gets_it():
    rig = crowded(slots=2, instances=("g0", "g1"))
    assert rig.ask("a1", "a2", model=A) == [HOLD, HOLD]
    overdue(rig)
    rig.agent.tick()
    assert sorted(rig.board.activity(name).reserved for name in ("g0", "g1")) == ["", A]


def test_another_context_does_not_starve_either():
    rig = Held(slots=2, loaded=(A,), contexts=4096)
    assert rig.ask("0", num_ctx=4096) == [ROUTE]
    assert rig.ask("long", num_ctx=8192) == [HOLD]
    overdue(rig)
    assert rig.ask("1", num_ctx=4096) == [HOLD]
    rig.agent.ended("0")
    assert [(name, choice.tier) for name, choice in rig.granted] == [("long", Tier.RELOAD)]


LOST = [InstanceState(Health.DOWN), InstanceState(Health.DRAINED)]


@pytest.mark.parametrize("lost", LOST, ids=lambda state: str(state.health))
def test_when_the_place_is_lost_another_one_is_emptied(lost):
    rig = crowded(slots=2, instances=("g0", "g1"))
    overdue(rig)
    emptied = next(name for name in ("g0", "g1") if rig.board.activity(name).reserved)
    other = {"g0": "g1", "g1": "g0"}[emptied]
    rig.agent.published(emptied, lost)
    rig.agent.tick()
    assert [rig.board.activity(name).reserved for name in (emptied, other)] == ["", A]


def test_streams_that_do_not_end_give_the_other_slots_back_until_they_do():
    rig = crowded(slots=2)
    overdue(rig)
    rig.clock.now_s += HOLD_S / 2 + 1
    rig.agent.tick()
    assert not rig.board.activity("g0").reserved
    assert rig.ask("b1", model=B) == [ROUTE]
    rig.agent.tick()
    assert not rig.board.activity("g0").reserved, "b0 still runs"
    rig.agent.ended("b0")
    rig.agent.tick()
    assert rig.board.activity("g0").reserved == A


@pytest.mark.parametrize("b_runs", [False, True])
def test_nobody_is_sent_away_for_one_that_may_not_run_anyhow(b_runs):
    """A is at its own limit on g0. The best place for another A is g1, where B is."""
    rig = Held(slots=1, instances=("g0", "g1"), loaded=(), rules=[ModelRule("a", max_concurrent=1)])
    one_each = tuple(replace(spec, max_loaded_models=1) for spec in rig.agent.fleet.instances)
    rig.agent.fleet = replace(rig.agent.fleet, instances=one_each)
    rig.read("g0", A)
    rig.read("g1", B)
    for _ in range(99):  # so long on g0 that a load elsewhere pays
        rig.agent.learner.ended(Grant("r", "g0", A, 0.0, Tier.LOADED), Ending(0.5, 50.0, True))
        rig.agent.learner.ended(Grant("r", "g1", A, 0.0, Tier.LOADED), Ending(0.5, 1.0, True))
    assert rig.ask("a0") == [ROUTE]
    assert not b_runs or rig.ask("b0", model=B) == [ROUTE]
    assert rig.agent.decide(asks(request_id="a1")).tier is Tier.EVICT
    overdue(rig)
    assert [rig.board.activity(name).reserved for name in ("g0", "g1")] == ["", ""]


def test_nor_where_the_model_in_the_way_is_idle():
    """Then something else is short: here the connections of the instance, of which C has the only one."""
    rig = Held(slots=2, loaded=())
    rig.agent.fleet = replace(rig.agent.fleet, instances=(replace(rig.agent.fleet.instances[0], max_loaded_models=2),))
    rig.agent.limit({"g0": 1})
    rig.read("g0", B, C)
    rig.agent.learner.arrived(C, rig.clock())  # so B is missed less
    assert rig.ask("c0", model=C) == [ROUTE]
    assert rig.agent.decide(asks(request_id="a0")).candidates[0].victims == (B,)
    overdue(rig)
    assert not rig.board.activity("g0").reserved


def test_streams_of_models_that_may_stay_are_not_waited_for():
    """B is in the way and C is not: how long C goes on does not matter."""
    rig = Held(slots=2, loaded=())
    rig.agent.fleet = replace(rig.agent.fleet, instances=(replace(rig.agent.fleet.instances[0], max_loaded_models=2),))
    rig.read("g0", B, C)
    for number in range(3):
        rig.agent.learner.arrived(C, rig.clock() + number)  # so B is missed less
    assert rig.ask("c0", model=C) + rig.ask("b0", model=B) + rig.ask("a0") == [ROUTE, ROUTE, HOLD]
    overdue(rig)
    assert rig.board.activity("g0").leaving == {B}
    rig.clock.now_s += HOLD_S / 2 + 1
    rig.agent.tick()
    assert rig.ask("b1", model=B) == [ROUTE]
    rig.agent.ended("b0")
    rig.agent.tick()
    assert rig.board.activity("g0").reserved == A


def test_where_one_place_was_waited_for_in_vain_the_next_is_emptied():
    rig = crowded(slots=2, instances=("g0", "g1"))
    overdue(rig)
    first = next(name for name in ("g0", "g1") if rig.board.activity(name).reserved)
    rig.clock.now_s += HOLD_S / 2 + 1
    rig.agent.tick()
    assert [rig.board.activity(name).reserved for name in ("g0", "g1") if name != first] == [A]


URGENT = [(100, -100, False), (0, 0, True), (-100, 100, True)]


@pytest.mark.parametrize(("own", "of_the_busy_one", "expected"), URGENT)
def test_no_model_gives_way_to_a_less_urgent_one(own, of_the_busy_one, expected):
    rig = crowded(slots=2, rules=[ModelRule("a", priority=own), ModelRule("b", priority=of_the_busy_one)])
    overdue(rig)
    assert bool(rig.board.activity("g0").reserved) is expected


def test_not_before_half_of_the_time_limit_is_over():
    rig = crowded(slots=2, rules=[ModelRule("a", priority=100)])
    overdue(rig)
    assert not rig.board.activity("g0").reserved
    rig.clock.now_s += HOLD_S / 2
    rig.agent.tick()
    assert rig.board.activity("g0").reserved == A


@settings(max_examples=40)
@given(service_s=st.integers(2, 12), every_s=st.integers(1, 3), rare_s=st.integers(5, 60))
def test_nobody_starves_where_two_models_share_one_place(service_s, every_s, rare_s):
    """B comes faster than it ends, so it is never idle by itself; A comes now and then. Both are served, in time."""
    rig = Held(slots=100, loaded=(B,))
    rig.agent.fleet = replace(rig.agent.fleet, instances=(replace(rig.agent.fleet.instances[0], max_loaded_models=1),))
    model_of, ends_at_s, told, there, arrives_at_s = {}, {}, 0, B, None
    for second in range(4 * int(HOLD_S)):
        rig.clock.now_s += 1
        for model, period_s in ((B, every_s), (A, rare_s)):
            if second % period_s == 0:
                name = f"{model} {second}"
                model_of[name] = model
                if rig.ask(name, model=model) == [ROUTE]:
                    ends_at_s[name] = second + service_s
        rig.agent.tick()
        for name in [name for name, end_s in ends_at_s.items() if end_s <= second]:
            del ends_at_s[name]
            rig.agent.ended(name)
        for name, choice in rig.granted[told:]:
            assert choice.action is ROUTE, f"{name} was turned away after {HOLD_S} s"
            ends_at_s[name] = second + service_s + (3 if choice.tier is Tier.EVICT else 0)
            if choice.tier is Tier.EVICT:
                there, arrives_at_s = model_of[name], second + 2
        told = len(rig.granted)
        rig.read("g0", *([there] if arrives_at_s is None or second >= arrives_at_s else []))
    assert any(model_of[name] == A for name, _ in rig.granted)
