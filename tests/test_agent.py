import asyncio

import pytest
from structlog.testing import capture_logs

from spoe_agent.agent import REFRESH_INTERVAL_S, Agent
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
    RequestFacts,
    Tier,
)
from spoe_agent.routing.names import canonical
from spoe_agent.telemetry.board import Board

A, NEW, CLOUD = (canonical(name) for name in ("a", "new", "big:cloud"))
FLEET = FleetSpec((InstanceSpec("g0", 100), InstanceSpec("g1", 100)))


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
