from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spoe_agent.agent.ending import Ending
from spoe_agent.agent.grant import Grant
from spoe_agent.agent.waiting import BELIEVED_DOWN_S, MAX_LANES, REASK_AT
from spoe_agent.keys.entry import OPEN_LINE, Key, rights_of
from spoe_agent.routing import (
    Health,
    InstanceLoad,
    InstanceSpec,
    InstanceState,
    Kind,
    ModelRule,
    Tier,
)
from spoe_agent.routing.rights import EVERYTHING, Rights
from spoe_agent.routing.wishes import Wishes
from tests.rigs import HOLD, HOLD_S, REJECT, ROUTE, A, B, Held, asks


def test_what_has_no_slot_is_held_and_granted_in_order_as_slots_come():
    rig = Held()
    assert rig.ask("1", "2", "3") == [ROUTE, HOLD, HOLD]
    assert rig.in_flight() == {"g0": {A: 1}}
    rig.agent.ended("1")
    assert [(name, choice.action, choice.instance) for name, choice in rig.granted] == [("2", ROUTE, "g0")]
    assert rig.in_flight() == {"g0": {A: 1}}
    rig.agent.ended("2")
    rig.agent.ended("3")
    assert rig.names() == ["2", "3"]
    assert rig.board.grants == len(rig.agent.hold) == 0


def test_nobody_overtakes_who_is_held():
    rig = Held(slots=2)
    assert rig.ask("1", "2", "3") == [ROUTE, ROUTE, HOLD]
    rig.board.end("1")  # a slot is free, and nobody has been told yet
    assert rig.ask("4") == [HOLD]
    rig.agent.release()
    assert rig.names() == ["3"]


def test_models_wait_apart():
    rig = Held()
    assert rig.ask("1", "2") == [ROUTE, HOLD]
    assert rig.ask("3", "4", model=B) == [ROUTE, HOLD]
    rig.agent.ended("3")
    assert rig.names() == ["4"]


def test_who_wishes_to_wait_less_is_turned_away_sooner():
    rig = Held()
    assert rig.ask("0", "1") == [ROUTE, HOLD]
    assert rig.ask("2", wishes=Wishes(wait_s=2.0)) == [HOLD]
    assert rig.ask("3", wishes=Wishes(wait_s=1e6)) == [HOLD]
    rig.clock.now_s += 1.9
    rig.agent.tick()
    assert rig.names() == []
    rig.clock.now_s += 0.2
    rig.agent.tick()
    assert rig.names() == ["2"]
    assert rig.granted[0][1].message == "no slot was free within 2 s; try again later (header x-pointsman-timeout)"
    rig.clock.now_s += HOLD_S
    rig.agent.tick()
    assert rig.names() == ["2", "1", "3"]
    assert rig.granted[2][1].message == f"no slot was free within {HOLD_S:g} s; try again later"


def test_requests_of_a_model_are_held_as_long_as_its_rule_says():
    rig = Held(rules=[ModelRule("a", hold_s=20.0), ModelRule("b", hold_s=600.0)])
    rig.ask("0", "1")
    rig.ask("2", "3", model=B)
    rig.clock.now_s += 20.0
    rig.agent.tick()
    assert [(name, choice.message) for name, choice in rig.granted] == [
        ("1", "no slot was free within 20 s; try again later")
    ]
    rig.clock.now_s += HOLD_S
    rig.agent.tick()
    assert rig.names() == ["1"]
    rig.agent.ended("2")
    assert rig.names() == ["1", "3"]


@pytest.mark.parametrize(("own", "wished", "is_last"), [(0, 100, True), (100, 0, False), (50, 0, False), (0, 0, False)])
def test_who_wishes_so_is_less_urgent_but_never_more(own, wished, is_last):
    rig = Held(rules=[ModelRule("a", priority=own)])
    assert rig.ask("0", "1") == [ROUTE, HOLD]
    assert rig.ask("2", wishes=Wishes(priority=wished), caller="y") == [HOLD]
    assert rig.ask("3", caller="z") == [HOLD]
    for name in ("0", "1", "3" if is_last else "2"):
        rig.agent.ended(name)
    assert rig.names() == (["1", "3", "2"] if is_last else ["1", "2", "3"])


@pytest.mark.parametrize(
    ("rights", "wished", "is_first"),
    [
        (EVERYTHING, None, True),
        (rights_of(OPEN_LINE), None, True),
        (Key(name="k", hash="0" * 64).rights, None, True),
        (EVERYTHING, 0, False),
        (Rights("k", priority=0), None, False),
    ],
)
def test_a_model_below_zero_is_more_urgent_than_the_usual_unless_key_or_wish_says_less(rights, wished, is_first):
    rig = Held(rules=[ModelRule("a", priority=0), ModelRule("b", priority=-10)])
    rig.agent.fleet = replace(rig.agent.fleet, instances=(InstanceSpec("g0", 1),))
    assert rig.ask("0", "1", rights=rights) == [ROUTE, HOLD]
    assert rig.ask("2", model=B, rights=rights, wishes=Wishes(priority=wished)) == [HOLD]
    rig.agent.ended("0")
    assert rig.names() == (["2"] if is_first else ["1"])


def test_more_urgent_models_go_first_when_a_connection_is_free():
    rig = Held(rules=[ModelRule("a", priority=5), ModelRule("b", priority=1)])
    rig.agent.fleet = replace(rig.agent.fleet, instances=(InstanceSpec("g0", 1),))
    assert rig.ask("0", "1") == [ROUTE, HOLD]
    assert rig.ask("2", model=B) == [HOLD]
    rig.agent.ended("0")
    assert rig.names() == ["2"]


def test_callers_take_turns_by_weight():
    rig = Held(caller_weights={"heavy": 2.0})
    rig.ask("0")
    for number in range(12):
        rig.ask(f"heavy{number}", caller="heavy")
        rig.ask(f"light{number}", caller="light")
    running = "0"
    for _ in range(12):
        rig.agent.ended(running)
        running = rig.names()[-1]
    assert Counter(name[:5] for name in rig.names()) == {"heavy": 8, "light": 4}


def test_callers_pay_with_the_times_that_were_learned():
    """Whoever asks for the slow model gets fewer turns at the one connection."""
    rig = Held()
    rig.agent.limit({"g0": 1})
    for model, total_s in ((A, 8.0), (B, 2.0)):
        rig.agent.learner.ended(Grant("r", "g0", model, 0.0, Tier.LOADED), Ending(0.1, total_s, True))
    rig.ask("0")
    for number in range(20):
        rig.ask(f"slow{number}", model=A, caller="slow")
        rig.ask(f"fast{number}", model=B, caller="fast")
    running = "0"
    for _ in range(10):
        rig.agent.ended(running)
        running = rig.names()[-1]
    assert Counter(name[:4] for name in rig.names()) == {"fast": 8, "slow": 2}


def test_a_models_own_limit_holds_across_the_fleet():
    rig = Held(slots=4, rules=[ModelRule("a", max_concurrent=2)], instances=("g0", "g1"))
    assert rig.ask("1", "2", "3") == [ROUTE, ROUTE, HOLD]
    assert rig.ask("4", model=B) == [ROUTE]
    rig.agent.ended("2")
    assert rig.names() == ["3"]


def test_new_readings_may_bring_slots():
    """Nothing is loaded while B is busy: A would have to evict it. Once it is read as gone there is room."""
    rig = Held(loaded=(B,), instances=("g0",))
    rig.agent.fleet = replace(rig.agent.fleet, instances=(InstanceSpec("g0", 100, max_loaded_models=1),))
    assert rig.ask("1", model=B) == [ROUTE]
    assert rig.ask("2") == [HOLD]
    rig.read("g0")
    assert rig.names() == ["2"]


def test_larger_limits_bring_slots():
    rig = Held(slots=4)
    rig.agent.limit({"g0": 1})
    assert rig.ask("1", "2", "3") == [ROUTE, HOLD, HOLD]
    rig.agent.limit({"g0": 2, "unknown": 9})
    assert rig.names() == ["2"]
    rig.agent.limit({})
    assert rig.names() == ["2"]


def test_whoever_waits_too_long_is_turned_away():
    rig = Held(retry_after_s=7)
    rig.ask("1", "2")
    rig.clock.now_s += HOLD_S - 0.1
    rig.agent.tick()
    assert rig.granted == []
    rig.clock.now_s += 0.1
    rig.agent.tick()
    ((name, choice),) = rig.granted
    assert (name, choice.action, choice.status, choice.reason) == ("2", REJECT, 503, "hold timeout")
    assert (choice.retry_after_s, choice.instance) == (7, None)
    assert "within 60 s" in choice.message
    assert rig.in_flight() == {"g0": {A: 1}}


def test_after_half_of_that_it_goes_before_every_class():
    rig = Held(rules=[ModelRule("a", priority=100), ModelRule("b", priority=-100)])
    rig.agent.fleet = replace(rig.agent.fleet, instances=(InstanceSpec("g0", 1),))
    rig.ask("0", "old")
    rig.clock.now_s += HOLD_S / 2 + 1
    rig.ask("urgent", model=B)
    rig.agent.tick()
    rig.agent.ended("0")
    assert rig.names() == ["old"]


def test_a_client_that_left_frees_its_place():
    rig = Held()
    rig.ask("1", "2", "3")
    rig.agent.ended("2")
    assert rig.gone == ["2"]
    rig.agent.ended("1")
    assert rig.names() == ["3"]
    rig.agent.ended("3")
    rig.agent.ended("3")
    assert rig.gone == ["2"]


def test_a_held_request_whose_instances_all_go_down_waits_for_one_to_come_back():
    """Its time is limited as before; a newcomer is told at once."""
    rig = Held()
    rig.ask("1", "2", "3")
    rig.agent.published("g0", InstanceState(Health.DOWN))
    assert rig.ask("4") == [REJECT]
    rig.clock.now_s += HOLD_S - 1
    rig.agent.tick()
    assert rig.granted == []
    rig.read("g0", A)
    rig.agent.ended("1")
    assert [(name, choice.action) for name, choice in rig.granted] == [("2", ROUTE)]
    rig.agent.published("g0", InstanceState(Health.DOWN))
    rig.clock.now_s += 2
    rig.agent.tick()
    assert [(name, choice.reason) for name, choice in rig.granted[1:]] == [("3", "hold timeout")]


def test_one_newcomer_that_finds_nobody_up_costs_the_held_nothing():
    rig = Held(instances=("g0", "g1"))
    rig.ask("1", "2", "3", "4")
    nobody = {name: InstanceLoad(0, 0, False) for name in ("g0", "g1")}
    assert rig.ask("5", loads=nobody) == [REJECT]
    rig.agent.tick()
    rig.agent.ended("1")
    assert rig.granted == []
    # Nobody comes who could tell that they are up again.
    rig.clock.now_s += BELIEVED_DOWN_S
    rig.agent.tick()
    assert rig.names() == ["3"]


def test_who_is_held_is_told_when_the_agent_stops_and_nobody_is_up():
    rig = Held()
    rig.ask("1", "2")
    rig.agent.published("g0", InstanceState(Health.DOWN))
    rig.agent.flush()
    assert [(name, choice.status) for name, choice in rig.granted] == [("2", 503)]


def test_who_is_held_goes_nowhere_where_haproxy_found_nobody():
    rig = Held(instances=("g0", "g1"))
    up, down = InstanceLoad(0, 0, True), InstanceLoad(0, 0, False)
    assert rig.ask("1", "2", loads={"g0": up, "g1": down}) == [ROUTE, HOLD]
    rig.agent.release()
    assert rig.names() == []
    rig.ask("3", loads={"g0": up, "g1": up})
    rig.agent.release()
    assert [choice.instance for _, choice in rig.granted] == ["g1"]


def test_what_one_haproxy_process_found_down_holds_for_its_own_requests():
    """Each checks for itself; a reload's new process may not have yet."""
    rig = Held(instances=("g0", "g1"))
    up, down = InstanceLoad(1, 0, True), InstanceLoad(0, 0, False)
    assert rig.ask("1", "2", "3", process="1-a") == [ROUTE, ROUTE, HOLD]
    rig.ask("4", loads={"g0": up, "g1": down}, process="2-b")
    on_g1 = next(grant.request_id for grant in rig.board.granted("g1"))
    rig.agent.ended(on_g1)
    assert [(name, choice.instance) for name, choice in rig.granted] == [("3", "g1")]
    rig.agent.ended("3")
    assert rig.names() == ["3"]
    rig.clock.now_s += BELIEVED_DOWN_S
    rig.agent.release()
    assert rig.names() == ["3", "4"]


def test_what_a_haproxy_process_leaves_behind_is_given_to_who_is_held():
    rig = Held()
    assert rig.ask("1", process="1-a") == [ROUTE]
    assert rig.ask("2", process="2-b") == [HOLD]
    rig.agent.forget(["2-b"])
    assert rig.names() == []
    rig.agent.forget(["1-a"])
    assert rig.names() == ["2"]


def test_what_is_granted_from_the_queue_is_spread_like_the_rest():
    rig = Held(slots=2, instances=("g0", "g1"))
    rig.ask(*(str(number) for number in range(10)))
    for number in range(4):
        rig.agent.ended(str(number))
    assert rig.in_flight() == {"g0": {A: 2}, "g1": {A: 2}}
    assert rig.names() == ["4", "5", "6", "7"]


def test_when_the_agent_stops_everybody_gets_a_place_and_nobody_is_held_any_more():
    rig = Held()
    rig.ask("1", "2", "3")
    rig.agent.flush()
    assert [(name, choice.action, choice.instance) for name, choice in rig.granted] == [
        ("2", ROUTE, "g0"),
        ("3", ROUTE, "g0"),
    ]
    assert rig.ask("4") == [ROUTE]
    assert rig.in_flight() == {"g0": {A: 4}}


def test_a_stopping_agent_does_not_believe_counts_as_old_as_the_held_request():
    """They were nobody's when it was held; striking grants by them would strike requests that live."""
    rig = Held()
    assert rig.ask("1", loads={"g0": InstanceLoad(0, 0, True)}) == [ROUTE]
    assert rig.ask("2", loads={"g0": InstanceLoad(0, 0, True)}) == [HOLD]
    rig.clock.now_s += 30
    rig.agent.flush()
    assert rig.in_flight() == {"g0": {A: 2}}


@pytest.mark.parametrize(
    "facts", [asks(kind=Kind.DESCRIBE, request_id="9"), asks(None, Kind.LIST, "9"), asks(None, Kind.MANAGE, "9")]
)
def test_what_runs_no_model_is_never_held(facts):
    rig = Held()
    rig.ask("1", "2", "3")
    assert rig.agent.decide(facts).action is ROUTE
    assert len(rig.agent.hold) == 2


def anew(agent):
    """Have the next decision made from scratch: something happened, though it changed nothing."""
    agent.board.end("nobody's")


@given(
    st.integers(1, 3),
    st.lists(st.tuples(st.sampled_from([A, B]), st.sampled_from("xyz"), st.booleans()), min_size=1, max_size=60),
)
def test_a_burst_is_answered_as_if_each_were_looked_at(slots, steps):
    """Whether requests join the decision before them or are decided anew: the same are held, and granted, in order."""
    joined, looked = Held(slots), Held(slots)
    routed, over = [], []
    for number, (model, caller, ends) in enumerate(steps):
        anew(looked.agent)
        (action,) = joined.ask(str(number), model=model, caller=caller)
        assert looked.ask(str(number), model=model, caller=caller) == [action]
        if action is ROUTE:
            routed.append(str(number))
        running = [name for name in routed + joined.names() if name not in over]
        if ends and running:
            over.append(running[0])
            joined.agent.ended(running[0])
            looked.agent.ended(running[0])
        assert joined.names() == looked.names()
        assert joined.in_flight() == looked.in_flight()


def test_a_burst_asks_anew_whenever_the_queue_has_grown_by_a_tenth():
    """At some length loading elsewhere is worth its price; the burst must not all wait for one instance."""

    def routed(is_anew):
        rig = Held(instances=("g0", "g1"), loaded=(A,))
        rig.read("g1")
        routed = []
        for number in range(200):
            if is_anew:
                anew(rig.agent)
            if rig.ask(str(number)) == [ROUTE]:
                routed.append(number)
        return routed

    exact, burst = routed(True), routed(False)
    assert exact[0] == burst[0] == 0
    assert len(exact) > 1, "the second instance is never worth its load: nothing is shown"
    assert exact[1] <= burst[1] <= REASK_AT * exact[1] + 1


def test_lanes_of_callers_own_making_are_bounded():
    rig = Held()
    rig.ask("0")
    for number in range(MAX_LANES + 50):
        rig.ask(str(number + 1), num_ctx=number + 1)
    assert len(rig.agent._room._last) <= MAX_LANES + 1


def test_a_queue_that_is_worth_a_load_gets_one_though_nobody_new_comes():
    """An instance comes back, and requests turn out to take longer than thought, when all of them are held already.

    The first gets the next slot sooner than a load would end; the last does not.
    """
    rig = Held(instances=("g0", "g1"), loaded=(A,))
    rig.agent.published("g1", InstanceState(Health.DOWN))  # nowhere else to go as yet
    assert rig.ask("0", "1", "2") == [ROUTE, HOLD, HOLD]
    rig.read("g1")
    rig.agent.tick()
    assert rig.names() == []
    for _ in range(9):
        rig.agent.learner.ended(Grant("r", "g0", A, 0.0, Tier.LOADED), Ending(0.1, 1.2, True))
    rig.clock.now_s += 1
    rig.agent.tick()
    ((name, choice),) = rig.granted
    assert (name, choice.instance, choice.tier) == ("2", "g1", Tier.ROOM)
    rig.read("g1", A)
    assert rig.in_flight() == {"g0": {A: 1}, "g1": {A: 1}}


def test_a_fleet_file_that_is_read_while_the_agent_stops_has_nobody_held():
    rig = Held()
    rig.ask("1", "2")
    rig.agent.flush()
    rig.agent.adopt(replace(rig.agent.fleet))
    assert (rig.names(), rig.ask("3")) == (["2"], [ROUTE])
