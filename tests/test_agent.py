import asyncio
from collections import Counter
from dataclasses import replace

import aiohttp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from spoe_agent.agent import MAX_HOMES, MAX_LANES, REASK_AT, REFRESH_INTERVAL_S, Agent
from spoe_agent.routing import (
    Action,
    Dialect,
    FleetSpec,
    Health,
    InstanceLoad,
    InstanceSpec,
    InstanceState,
    Kind,
    LoadedModel,
    ModelRule,
    Policy,
    RequestFacts,
    Tier,
)
from spoe_agent.routing.names import canonical
from spoe_agent.telemetry.board import Board
from spoe_agent.telemetry.learner import Ending, Learner
from spoe_agent.telemetry.ollama import UnexpectedAnswer

A, B, NEW, CLOUD = (canonical(name) for name in ("a", "b", "new", "big:cloud"))
FLEET = FleetSpec((InstanceSpec("g0", 100), InstanceSpec("g1", 100)))
HOLD_S = 60.0


class Clock:
    def __init__(self):
        self.now_s = 100.0

    def __call__(self):
        return self.now_s


class Rig:
    """An agent on a real board; `pulled` are models that the instances list only when asked anew."""

    def __init__(self, pulled=()):
        self.clock, self.board, self.pulled, self.refreshed = Clock(), Board(), pulled, 0
        self.answers = asyncio.Event()
        self.answers.set()
        self.agent = Agent(FLEET, self.board, self.refresh, self.clock)
        self.publish(A)

    def publish(self, *installed, loaded=()):
        for name in ("g0", "g1"):
            models = {model: LoadedModel(1, 1) for model in loaded}
            lists = dict.fromkeys(installed, 1)
            self.board.publish(name, InstanceState(Health.UP, models, self.clock(), lists, self.clock()))

    async def refresh(self):
        self.refreshed += 1
        await self.answers.wait()
        self.publish(A, *self.pulled)

    def in_flight(self):
        activity = self.board.snapshot({}, self.clock()).activity
        return {name: dict(one.in_flight) for name, one in activity.items() if one.in_flight}


def asks(model=A, kind=Kind.INFERENCE, request_id="r1", **fields):
    return RequestFacts(request_id, kind, Dialect.OLLAMA, model, **fields)


def test_what_is_routed_is_entered_until_its_log_line_comes():
    rig = Rig()
    choice = rig.agent.decide(asks())
    assert choice.action is Action.ROUTE
    assert rig.in_flight() == {choice.instance: {A: 1}}
    rig.board.end("r1")
    assert rig.in_flight() == {}


def test_the_second_request_follows_the_first_to_where_its_model_loads():
    """Nothing but the board can know of that load yet; queueing for it costs less here than another load."""
    rig = Rig()
    rig.board.publish("g0", InstanceState(Health.UP, {}, 100.0, {A: 40_000_000_000}, 100.0))
    rig.board.publish("g1", InstanceState(Health.UP, {}, 100.0, {A: 40_000_000_000}, 100.0))
    wide = FleetSpec((InstanceSpec("g0", 100, num_parallel=4), InstanceSpec("g1", 100, num_parallel=4)))
    agent = Agent(wide, rig.board, rig.refresh, rig.clock)
    first = agent.decide(asks(request_id="1"))
    rig.clock.now_s += 5
    second = agent.decide(asks(request_id="2"))
    assert (first.tier, second.tier) == (Tier.ROOM, Tier.LOADING)
    assert first.instance == second.instance


def test_simultaneous_requests_are_spread_before_haproxy_counts_them():
    rig = Rig()
    rig.publish(A, loaded=[A])
    loads = {"g0": InstanceLoad(0, 0, True), "g1": InstanceLoad(0, 0, True)}
    chosen = [rig.agent.decide(asks(request_id=str(i), loads=loads)).instance for i in range(10)]
    assert sorted(chosen) == ["g0"] * 5 + ["g1"] * 5


@pytest.mark.parametrize("facts", [asks(kind=Kind.DESCRIBE), asks(None, Kind.LIST), asks(None, Kind.MANAGE)])
def test_what_runs_no_model_is_not_entered(facts):
    rig = Rig()
    assert rig.agent.decide(facts).action is Action.ROUTE
    assert rig.board.grants == 0


def test_a_cloud_model_loads_nothing():
    rig = Rig()
    choice = rig.agent.decide(asks(CLOUD))
    assert not rig.board.snapshot({}, 100.0).active(choice.instance).loading


def test_what_is_refused_is_not_entered():
    rig = Rig()
    assert rig.agent.decide(asks(NEW)).status == 404
    assert rig.board.grants == 0


def test_only_an_unknown_model_is_worth_a_second_look_and_only_so_often():
    rig = Rig()
    unknown = rig.agent.decide(asks(NEW))
    assert not rig.agent.is_worth_a_second_look(unknown)  # the lists were read as the agent started
    rig.clock.now_s += REFRESH_INTERVAL_S
    assert rig.agent.is_worth_a_second_look(unknown)
    assert not rig.agent.is_worth_a_second_look(rig.agent.decide(asks()))
    for name in ("g0", "g1"):
        rig.board.publish(name, InstanceState(Health.DOWN))
    assert not rig.agent.is_worth_a_second_look(rig.agent.decide(asks(NEW)))


async def test_a_model_that_was_just_pulled_is_found():
    rig = Rig(pulled=[NEW])
    rig.clock.now_s += REFRESH_INTERVAL_S
    choice = await rig.agent.decide_again(asks(NEW))
    assert choice.action is Action.ROUTE
    assert rig.in_flight() == {choice.instance: {NEW: 1}}
    assert rig.refreshed == 1


async def test_a_model_that_does_not_exist_stays_unknown():
    rig = Rig()
    rig.clock.now_s += REFRESH_INTERVAL_S
    choice = await rig.agent.decide_again(asks(NEW))
    assert (choice.action, choice.status) == (Action.REJECT, 404)
    assert not rig.agent.is_worth_a_second_look(choice)


async def test_of_many_requests_for_an_unknown_model_one_asks():
    rig = Rig()
    rig.clock.now_s += REFRESH_INTERVAL_S
    await asyncio.gather(*(rig.agent.decide_again(asks(NEW, request_id=str(i))) for i in range(50)))
    assert rig.refreshed == 1


async def test_instances_that_are_slow_to_answer_hold_up_nobody():
    rig = Rig(pulled=[NEW])
    rig.clock.now_s += REFRESH_INTERVAL_S
    rig.answers.clear()
    async with asyncio.timeout(30):
        choice = await rig.agent.decide_again(asks(NEW))
    assert choice.status == 404


def test_each_decision_is_logged_with_its_reasons_but_no_more_than_names():
    rig = Rig()
    with capture_logs() as logs:
        choice = rig.agent.decide(asks())
    (line,) = logs
    assert (line["log_level"], line["id"], line["model"]) == ("debug", "r1", A)
    assert line["choice"] is choice


class Held(Rig):
    """An agent that holds, over one instance with A and B loaded and `slots` for each; notes what is granted."""

    def __init__(self, slots=1, rules=(), instances=("g0",), loaded=(A, B), **policy):
        super().__init__()
        specs = tuple(InstanceSpec(name, 100, num_parallel=slots) for name in instances)
        fleet = FleetSpec(specs, tuple(rules), Policy(hold_s=HOLD_S, **policy))
        self.board = Board()
        self.agent = Agent(fleet, self.board, self.refresh, self.clock)
        self.granted, self.gone = [], []
        self.agent.granted = lambda facts, choice: self.granted.append((facts.request_id, choice))
        self.agent.left = lambda facts: self.gone.append(facts.request_id)
        for name in instances:
            self.read(name, *loaded)

    def read(self, name, *loaded):
        models = dict.fromkeys(loaded, LoadedModel(1, 1))
        state = InstanceState(Health.UP, models, self.clock(), {A: 1, B: 1}, self.clock())
        self.agent.published(name, state)

    def ask(self, *ids, **fields):
        """Decide these requests; return what is done with each."""
        return [self.agent.decide(asks(request_id=one, **fields)).action for one in ids]

    def names(self):
        return [name for name, _ in self.granted]


ROUTE, HOLD, REJECT = Action


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
    rig.clock.now_s += HOLD_S
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
    assert rig.agent.ended("2") is None
    assert rig.gone == ["2"]
    rig.agent.ended("1")
    assert rig.names() == ["3"]
    rig.agent.ended("3")
    rig.agent.ended("3")
    assert rig.gone == ["2"]


def test_a_held_request_whose_instances_all_go_down_is_told_so():
    rig = Held()
    rig.ask("1", "2")
    rig.agent.published("g0", InstanceState(Health.DOWN))
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


@settings(deadline=None)
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
    assert len(rig.agent._last) <= MAX_LANES + 1


def test_a_conversation_goes_back_to_where_it_was():
    rig = Held(slots=4, instances=("g0", "g1", "g2"))
    first = rig.agent.decide(asks(request_id="1", prefix="p", body_bytes=100_000))
    rig.agent.ended("1")
    for number in range(20):
        choice = rig.agent.decide(asks(request_id=f"n{number}", prefix="p", body_bytes=100_000))
        assert choice.instance == first.instance
        rig.agent.ended(f"n{number}")


def test_conversations_are_forgotten_longest_unused_first():
    rig = Held(slots=4, instances=("g0", "g1"))
    for number in [*range(MAX_HOMES), 0, MAX_HOMES, MAX_HOMES + 1]:
        rig.ask("r", prefix=str(number))
        rig.agent.ended("r")
    assert len(rig.agent._homes) == MAX_HOMES
    assert "0" in rig.agent._homes
    assert "1" not in rig.agent._homes


ENDING = Ending(first_byte_s=0.5, total_s=4.0, is_whole=True)
TAUGHT = {
    # where HAProxy sent it, how it ended -> whether it is learned from
    "as granted": ("g0", ENDING, True),
    "sent on to another": ("g1", ENDING, False),
    "it never got anywhere": ("<NOSRV>", ENDING, False),
    "broke off": ("g0", replace(ENDING, is_whole=False), False),
    "nobody knows how it ended": ("g0", None, False),
}


@pytest.mark.parametrize(("server", "ending", "learns"), TAUGHT.values(), ids=TAUGHT)
def test_who_is_learned_from(server, ending, learns):
    rig = Held()
    rig.ask("1")
    assert rig.agent.ended("1", server, ending).instance == "g0"
    rig.clock.now_s += 1
    assert ((A, "g0") in rig.agent.learner.learned(rig.clock()).service_s) is learns
    assert rig.board.grants == 0


def test_requests_that_were_never_granted_teach_nothing():
    rig = Held()
    assert rig.agent.ended("somebody's", "g0", ENDING) is None
    assert not rig.agent.learner.service


def test_what_was_learned_before_is_used():
    learner = Learner()
    learner.ended(A, "g0", Tier.LOADED, ENDING)
    agent = Agent(FLEET, Board(), Rig().refresh, learner=learner)
    assert agent.learner is learner


def test_arrivals_are_counted_once_whatever_becomes_of_them():
    rig = Held()
    rig.ask("1", "2")
    rig.agent.decide(asks(B, Kind.DESCRIBE, "3"))
    assert rig.agent.learner.rates.keys() == {A}
    assert rig.agent.learner.rates[A].now(rig.clock()) == pytest.approx(2 / 300)


def test_names_of_models_that_do_not_exist_take_no_memory():
    rig = Held()
    for number in range(50):
        assert rig.agent.decide(asks(canonical(f"guess{number}"), request_id="r")).status == 404
    assert not rig.agent.learner.rates


class Rooms(Rig):
    """An agent whose one instance has A loaded and room for one model; notes what it is asked to unload."""

    def __init__(self, fault=None, can_unload=True):
        super().__init__()
        self.unloaded, self.fault, self.answers_now = [], fault, asyncio.Event()
        self.answers_now.set()
        fleet = FleetSpec((InstanceSpec("g0", 100, max_loaded_models=1),))
        unload = self.unload if can_unload else None
        self.agent = Agent(fleet, Board(), self.refresh, self.clock, unload=unload)
        self.agent.published(
            "g0", InstanceState(Health.UP, {A: LoadedModel(1, 1)}, self.clock(), {A: 1, B: 1}, self.clock())
        )

    async def unload(self, instance, model):
        self.unloaded.append((instance, model))
        await self.answers_now.wait()
        if self.fault is not None:
            raise self.fault


async def test_what_must_go_is_unloaded_before_the_load():
    rig = Rooms()
    choice = rig.agent.decide(asks(B))
    assert (choice.tier, choice.victims) == (Tier.EVICT, (A,))
    assert rig.agent.must_make_room(choice)
    await rig.agent.make_room(choice)
    assert rig.unloaded == [("g0", "a:latest")]


def test_where_nothing_must_go_nothing_is_unloaded():
    rig = Rooms()
    assert not rig.agent.must_make_room(rig.agent.decide(asks(A)))
    assert not rig.agent.must_make_room(rig.agent.decide(asks(NEW)))
    rig = Rooms(can_unload=False)
    assert not rig.agent.must_make_room(rig.agent.decide(asks(B)))


async def test_an_agent_that_cannot_unload_leaves_it_to_ollama():
    rig = Rooms(can_unload=False)
    await rig.agent.make_room(rig.agent.decide(asks(B)))
    assert rig.unloaded == []


@pytest.mark.parametrize("fault", [TimeoutError(), OSError(), UnexpectedAnswer("404"), aiohttp.ClientError()])
async def test_unloading_that_fails_holds_up_nobody(fault):
    rig = Rooms(fault)
    await rig.agent.make_room(rig.agent.decide(asks(B)))
    assert rig.unloaded == [("g0", "a:latest")]


async def test_unloading_that_takes_long_holds_up_nobody():
    rig = Rooms()
    rig.answers_now.clear()
    async with asyncio.timeout(30):
        await rig.agent.make_room(rig.agent.decide(asks(B)))
    assert rig.unloaded == [("g0", "a:latest")]


async def test_a_bug_in_unloading_is_not_hidden():
    rig = Rooms(ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        await rig.agent.make_room(rig.agent.decide(asks(B)))


def test_a_request_that_ended_before_its_question_was_read_takes_no_slot():
    """After a pause of the process log lines may be read before the questions they belong to."""
    rig = Rig()
    rig.agent.ended("r1", "g0", None)
    assert rig.agent.decide(asks()).reason == "too late"
    assert rig.in_flight() == {}
    assert rig.agent.decide(asks(request_id="r2")).action is Action.ROUTE


def test_lost_log_lines_do_not_keep_everybody_waiting_when_nobody_new_comes():
    rig = Rig()
    one_slot = FleetSpec((InstanceSpec("g0", 1),), policy=Policy(hold_s=HOLD_S))
    agent = Agent(one_slot, rig.board, rig.refresh, rig.clock)
    granted = []
    agent.granted = lambda request, _choice: granted.append(request.request_id)
    loads = {"g0": InstanceLoad(0, 0, True)}
    assert agent.decide(asks(request_id="lost", loads=loads)).action is Action.ROUTE
    assert agent.decide(asks(request_id="waits", loads=loads)).action is Action.HOLD
    rig.clock.now_s += HOLD_S / 2 - 1
    agent.tick()
    assert granted == []
    rig.clock.now_s += 2
    agent.tick()
    assert granted == ["waits"]
