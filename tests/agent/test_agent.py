import asyncio
from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from spoe_agent.agent.agent import Agent
from spoe_agent.agent.board import Board
from spoe_agent.agent.chooser import MAX_HOMES
from spoe_agent.agent.counts import Outcome
from spoe_agent.agent.ending import Ending
from spoe_agent.agent.grant import Grant
from spoe_agent.agent.learner import Learner
from spoe_agent.agent.second_look import INTERVAL_S
from spoe_agent.routing import (
    Action,
    FleetSpec,
    Health,
    InstanceLoad,
    InstanceSpec,
    InstanceState,
    Kind,
    LoadedModel,
    Policy,
    Reason,
    Tier,
)
from spoe_agent.routing.change import Change, Verb
from spoe_agent.routing.names import canonical
from spoe_agent.routing.snapshot import ANY_MODEL, Avoided
from tests.rigs import CLOUD, FLEET, HOLD, HOLD_S, NEW, REJECT, ROUTE, A, B, Held, Rig, asks


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


def test_a_request_that_comes_around_again_leaves_nothing_where_it_was():
    refused = []
    rig = Rig(refused=lambda instance, _: refused.append(instance))
    rig.publish(A, loaded=[A])
    first = rig.agent.decide(asks()).instance
    second = rig.agent.decide(asks(tried=(first,)))
    assert {first, second.instance} == {"g0", "g1"}
    assert second.reason_text == f"again: {first} failed"
    assert (rig.in_flight(), refused) == ({second.instance: {A: 1}}, [first])
    assert rig.agent.decide(asks(tried=(first, second.instance))).status == 503
    assert (rig.in_flight(), refused) == ({}, [first, second.instance])


@pytest.mark.parametrize(
    ("loads", "refused"), [({}, ["g0"]), ({"g0": True}, ["g0"]), ({"g0": False}, []), ({"g1": False}, ["g0"])]
)
def test_whom_haproxys_check_found_down_refused_nothing(loads, refused):
    told = []
    rig = Rig(refused=lambda instance, _: told.append(instance))
    counts = {name: InstanceLoad(0, 0, is_up) for name, is_up in loads.items()}
    rig.agent.decide(asks(tried=("g0",), loads=counts))
    rig.agent.decide(asks(tried=("g0", ""), loads=counts))
    assert told == refused


AVOIDED = Avoided(0.0, "answered 503")


@pytest.mark.parametrize(
    ("avoided", "other_is_up", "inspected_bytes", "is_repeated"),
    [
        ({}, True, 31 << 20, False),
        ({ANY_MODEL: AVOIDED}, True, 31 << 20, True),
        ({A: AVOIDED}, True, 31 << 20, True),
        ({B: AVOIDED}, True, 31 << 20, False),
        ({A: AVOIDED}, False, 31 << 20, False),
        ({}, True, 64 << 10, True),
        ({}, False, 64 << 10, False),
    ],
)
def test_what_may_fail_is_repeated_where_there_is_another_instance(avoided, other_is_up, inspected_bytes, is_repeated):
    """Always where HAProxy's buffers are small; and nothing twice."""
    rig = Rig()
    rig.agent.fleet = replace(rig.agent.fleet, policy=Policy(max_inspected_bytes=inspected_bytes))
    rig.publish(A, loaded=[A])
    for name in ("g0", "g1"):
        rig.board.publish(name, replace(rig.board.state(name), avoided=avoided))
    if not other_is_up:
        rig.board.publish("g1", replace(rig.board.state("g1"), health=Health.DOWN))
    choice = rig.agent.decide(asks())
    assert rig.agent.is_repeated(choice, asks()) is is_repeated
    if other_is_up:
        again = asks(tried=(choice.instance,))
        elsewhere = rig.agent.decide(again)
        assert not rig.agent.is_repeated(elsewhere, again)
        rig.agent.ended("r1", elsewhere.instance, Ending(0.5, 2.0, is_whole=False, is_rescued=True))
        failed, served = (choice.instance, Outcome.BROKEN), (elsewhere.instance, Outcome.WHOLE)
        assert rig.agent.record.counts.ended == ({failed: 1, served: 1} if is_repeated else {served: 1})


def test_what_runs_on_no_gpu_of_ours_is_not_repeated():
    rig = Rig()
    rig.agent.fleet = replace(rig.agent.fleet, policy=Policy(max_inspected_bytes=64 << 10))
    rig.agent.decide(asks(CLOUD))
    assert not rig.board.find("r1").is_repeated


def test_its_place_is_free_for_who_waits():
    rig = Held(instances=("g0", "g1"))
    assert rig.ask("1", "2", "3") == [ROUTE, ROUTE, HOLD]
    where = rig.board.find("1").instance
    assert rig.ask("1", tried=(where,)) == [HOLD]
    # Whoever waited before takes that place, and finds out by itself.
    assert [(name, choice.instance) for name, choice in rig.granted] == [("3", where)]


def test_it_is_held_beside_those_who_were_held_without_being_tried():
    """The place that it cannot have may be had by them."""
    rig = Held(instances=("g0", "g1"))
    assert rig.ask("1", "2", "3") == [ROUTE, ROUTE, HOLD]
    where, other = rig.board.find("1").instance, rig.board.find("2").instance
    rig.ask("1", tried=(where,))
    rig.agent.ended("3")
    assert rig.names() == ["3"]
    rig.agent.ended("2")
    assert [(name, choice.instance) for name, choice in rig.granted][1:] == [("1", other)]


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
    rig.clock.now_s += INTERVAL_S
    assert rig.agent.is_worth_a_second_look(unknown)
    assert not rig.agent.is_worth_a_second_look(rig.agent.decide(asks()))
    for name in ("g0", "g1"):
        rig.board.publish(name, InstanceState(Health.DOWN))
    assert not rig.agent.is_worth_a_second_look(rig.agent.decide(asks(NEW)))


async def test_a_model_that_was_just_pulled_is_found():
    rig = Rig(pulled=[NEW])
    rig.clock.now_s += INTERVAL_S
    choice = await rig.agent.decide_again(asks(NEW))
    assert choice.action is Action.ROUTE
    assert rig.in_flight() == {choice.instance: {NEW: 1}}
    assert rig.refreshed == 1


SECOND_LOOKS = {
    # models that came meanwhile -> what is counted, of one request
    "it is there": ([NEW], {(Action.ROUTE, Reason.ROOM): 1}),
    "it is not": ([], {(Action.REJECT, Reason.NOT_FOUND): 1}),
}


@pytest.mark.parametrize(("pulled", "counted"), SECOND_LOOKS.values(), ids=SECOND_LOOKS)
async def test_a_request_is_counted_once_with_the_answer_that_it_gets(pulled, counted):
    rig = Rig(pulled=pulled)
    rig.clock.now_s += INTERVAL_S
    assert rig.agent.is_worth_a_second_look(rig.agent.decide(asks(NEW)))
    await rig.agent.decide_again(asks(NEW))
    found = rig.agent.record.counts.decisions
    assert {(action, reason): count for (action, reason, _), count in found.items()} == counted
    assert len(rig.agent.record.history) == 1


async def test_a_model_that_does_not_exist_stays_unknown():
    rig = Rig()
    rig.clock.now_s += INTERVAL_S
    choice = await rig.agent.decide_again(asks(NEW))
    assert (choice.action, choice.status) == (Action.REJECT, 404)
    assert not rig.agent.is_worth_a_second_look(choice)


async def test_of_many_requests_for_an_unknown_model_one_asks():
    rig = Rig()
    rig.clock.now_s += INTERVAL_S
    await asyncio.gather(*(rig.agent.decide_again(asks(NEW, request_id=str(i))) for i in range(50)))
    assert rig.refreshed == 1


async def test_instances_that_are_slow_to_answer_hold_up_nobody():
    rig = Rig(pulled=[NEW])
    rig.clock.now_s += INTERVAL_S
    rig.answers.clear()
    async with asyncio.timeout(30):
        choice = await rig.agent.decide_again(asks(NEW))
    assert choice.status == 404


async def test_while_a_store_is_changed_what_is_not_known_is_not_denied():
    """The client may have been told just now that its pull is done."""
    rig = Rig(pulled=[NEW])
    pull = asks(None, kind=Kind.MANAGE, request_id="pull", change=Change(Verb.PULL, makes=NEW))
    assert rig.agent.decide(pull).action is Action.ROUTE
    rig.answers.clear()
    choice = await rig.agent.decide_again(asks(NEW))
    assert (choice.status, choice.reason, choice.retry_after_s) == (503, Reason.NO_LISTS, 5)
    assert "perhaps 'new:latest' is there now" in choice.message
    rig.answers.set()
    assert (await rig.agent.decide_again(asks(NEW))).action is Action.ROUTE


def test_each_decision_is_logged_with_its_reasons_but_no_more_than_names():
    rig = Rig()
    with capture_logs() as logs:
        rig.agent.decide(asks())
    (line,) = logs
    assert (line["log_level"], line["id"], line["model"]) == ("debug", "r1", "a:latest")
    assert line["candidates"].keys() == {"g0", "g1"}


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
    for request, number in enumerate([*range(MAX_HOMES), 0, MAX_HOMES, MAX_HOMES + 1]):
        rig.ask(f"r{request}", prefix=str(number))
        rig.agent.ended(f"r{request}")
    assert len(rig.agent._chooser.homes) == MAX_HOMES
    assert "0" in rig.agent._chooser.homes
    assert "1" not in rig.agent._chooser.homes


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
    rig.agent.ended("1", server, ending)
    rig.clock.now_s += 1
    assert ((A, "g0") in rig.agent.learner.learned(rig.clock()).service_s) is learns
    assert rig.board.grants == 0


def test_requests_that_were_never_granted_teach_nothing():
    rig = Held()
    rig.agent.ended("somebody's", "g0", ENDING)
    assert not rig.agent.learner.service


def test_what_was_learned_before_is_used():
    learner = Learner()
    learner.ended(Grant("r", "g0", A, 0.0, Tier.LOADED), ENDING)
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

    def __init__(self, fault="", can_unload=True):
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
        if isinstance(self.fault, Exception):
            raise self.fault
        return self.fault


async def test_what_must_go_is_unloaded_before_the_load():
    rig = Rooms()
    choice = rig.agent.decide(asks(B))
    assert (choice.tier, choice.victims) == (Tier.EVICT, (A,))
    assert rig.agent.unloading.is_needed(choice)
    await rig.agent.unloading.make_room(choice)
    assert rig.unloaded == [("g0", "a:latest")]


def test_where_nothing_must_go_nothing_is_unloaded():
    rig = Rooms()
    assert not rig.agent.unloading.is_needed(rig.agent.decide(asks(A)))
    assert not rig.agent.unloading.is_needed(rig.agent.decide(asks(NEW)))
    rig = Rooms(can_unload=False)
    assert not rig.agent.unloading.is_needed(rig.agent.decide(asks(B)))


async def test_an_agent_that_cannot_unload_leaves_it_to_ollama():
    rig = Rooms(can_unload=False)
    await rig.agent.unloading.make_room(rig.agent.decide(asks(B)))
    assert rig.unloaded == []


async def test_a_client_has_all_copies_unloaded():
    """One is asked by the client's own request, the others by the agent; the next request loads it again."""
    rig = Rooms()
    rig.agent.fleet = FLEET
    for name in ("g0", "g1"):
        lists = {A: LoadedModel(1, 1)}, rig.clock(), {A: 1, B: 1}, rig.clock()
        rig.agent.published(name, InstanceState(Health.UP, *lists))
    choice = rig.agent.decide(asks(kind=Kind.UNLOAD))
    assert (choice.action, choice.reason) == (Action.ROUTE, "unload")
    assert rig.agent.unloading.is_needed(choice)
    await rig.agent.unloading.make_room(choice)
    (other,) = {"g0", "g1"} - {choice.instance}
    assert rig.unloaded == [(other, "a:latest")]
    assert (rig.agent.board.grants, rig.agent.learner.rates) == (0, {})
    assert rig.agent.decide(asks(request_id="r2")).reason == "room"


def test_what_only_loads_is_granted_and_teaches_no_service():
    rig = Rig()
    choice = rig.agent.decide(asks(only_loads=True))
    assert choice.tier is Tier.ROOM
    rig.agent.ended("r1", choice.instance, Ending(4.0, 4.0, is_whole=True))
    assert not rig.agent.learner.service
    assert [mean.samples for mean in rig.agent.learner.from_disk.values()] == [1]


async def test_unloading_that_fails_holds_up_nobody():
    rig = Rooms("unloading a:latest answered 404")
    await rig.agent.unloading.make_room(rig.agent.decide(asks(B)))
    assert rig.unloaded == [("g0", "a:latest")]


async def test_unloading_that_takes_long_holds_up_nobody():
    rig = Rooms()
    rig.answers_now.clear()
    async with asyncio.timeout(30):
        await rig.agent.unloading.make_room(rig.agent.decide(asks(B)))
    assert rig.unloaded == [("g0", "a:latest")]


async def test_a_bug_in_unloading_is_not_hidden():
    rig = Rooms(ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        await rig.agent.unloading.make_room(rig.agent.decide(asks(B)))


def test_a_request_that_ended_before_its_question_was_read_takes_no_slot():
    """After a pause of the process log lines may be read before the questions they belong to."""
    rig = Rig()
    rig.agent.ended("r1", "g0", None)
    assert rig.agent.decide(asks()).reason == "too late"
    assert rig.in_flight() == {}
    assert rig.agent.decide(asks(request_id="r2")).action is Action.ROUTE


def test_a_request_that_ended_while_held_and_is_asked_for_once_more_takes_no_slot():
    """Its client has left, HAProxy passes it around all the same, and the line of its end is read first."""
    rig = Held(slots=1)
    rig.ask("busy", "r1")
    rig.agent.ended("r1", "g0", None)
    again = replace(asks(request_id="r1"), tried=("",))
    assert rig.agent.decide(again).reason == "too late"
    assert "r1" not in rig.agent.hold
    assert rig.agent.board.find("r1") is None


def test_streams_go_on_however_quiet_it_is():
    """Nobody new brings HAProxy's counts while one is held; that says nothing of those who run."""
    rig = Held(slots=2)
    loads = {"g0": InstanceLoad(0, 0, is_up=True)}
    assert rig.ask("1", "2", "3", loads=loads) == [ROUTE, ROUTE, HOLD]
    for _ in range(int(HOLD_S)):
        rig.clock.now_s += 1
        rig.agent.tick()
        assert rig.in_flight() == {"g0": {A: 2}}
    rig.clock.now_s += 1
    rig.agent.tick()
    assert [(name, choice.action) for name, choice in rig.granted] == [("3", REJECT)]
