"""What reaches the agent of an instance's troubles, with the agent's own watch."""

from __future__ import annotations

import pytest

from spoe_agent.agent.agent import Agent
from spoe_agent.agent.board import Board
from spoe_agent.agent.ending import Ending
from spoe_agent.fleet import HealthPolicy
from spoe_agent.instances.lists import InstalledModel
from spoe_agent.routing import Dialect, FleetSpec, Health, InstanceLoad, InstanceSpec, Kind, LoadedModel, RequestFacts
from spoe_agent.routing.names import canonical
from spoe_agent.simulator.virtual.requests import BROKEN, CLIENT_LEFT, SERVED, TIMED_OUT, RequestOutcome
from spoe_agent.simulator.virtual.watching import Watching
from tests.simulator.virtual.builders import request

A = canonical("a")
LOADED = {A: LoadedModel(10**9, 10**9, 4096)}


async def nothing() -> None:
    raise AssertionError("nobody asks for lists here")


class Stage:
    """One agent, two instances that have the model, and time."""

    def __init__(self) -> None:
        self.now_s = 0.0
        specs = tuple(InstanceSpec(name, 8, num_parallel=4) for name in ("one", "two"))
        self.agent = Agent(FleetSpec(specs), Board(), nothing, clock=lambda: self.now_s)
        on_disk = {name: {A: InstalledModel(10**9)} for name in ("one", "two")}
        self.watching = Watching(self.agent, on_disk, lambda: self.now_s, HealthPolicy())
        for name in ("one", "two"):
            self.watching.polled(name, LOADED)

    def health(self, instance: str = "one") -> Health:
        return self.agent.board.state(instance).health

    def send(self, number: int) -> str:
        """Ask for one request; return where it goes."""
        loads = {name: InstanceLoad(0, 0, is_up=True) for name in ("one", "two")}
        facts = RequestFacts(str(number), Kind.INFERENCE, Dialect.OLLAMA, loads=loads, num_ctx=None)
        choice = self.agent.decide(facts.naming("a"))
        assert choice.instance is not None
        return choice.instance

    def end(self, number: int, server: str, status: int, first: bool = False, redispatched: bool = False) -> None:
        record = RequestOutcome(request(number), status, 0, self.now_s if first else None, self.now_s)
        self.watching.ended(str(number), record, server, Ending(0.1, 0.2, status == SERVED), redispatched)


def test_two_refused_polls_are_down_and_two_answers_do_not_make_it_serve() -> None:
    stage = Stage()
    stage.watching.refused("one")
    assert stage.health() is not Health.DOWN
    stage.watching.refused("one")
    assert stage.health() is Health.DOWN and not stage.agent.board.state("one").loaded

    stage.watching.polled("one", {})
    assert stage.health() is Health.RECOVERING


@pytest.mark.parametrize(
    ("status", "first", "is_doubted"),
    [
        pytest.param(BROKEN, True, True, id="cut in the middle"),
        pytest.param(BROKEN, False, True, id="broken before"),
        pytest.param(TIMED_OUT, False, True, id="silent"),
        pytest.param(CLIENT_LEFT, True, False, id="the client left"),
        pytest.param(503, False, False, id="Ollama's queue was full"),
    ],
)
def test_two_failed_requests_cast_doubt(status: int, first: bool, is_doubted: bool) -> None:
    stage = Stage()
    for number in range(12):
        stage.end(number, stage.send(number), status, first)

    assert {stage.health(name) for name in ("one", "two")} == {Health.SUSPECT if is_doubted else Health.UP}


def test_two_refused_requests_are_down() -> None:
    stage = Stage()
    for number in range(20):
        server = stage.send(number)
        stage.end(number, "two", SERVED, True, redispatched=server == "one")

    assert (stage.health("one"), stage.health("two")) == (Health.DOWN, Health.UP)


@pytest.mark.parametrize(("is_answered", "health"), [(True, Health.UP), (False, Health.SUSPECT)])
def test_a_doubt_is_probed_and_lifted_by_an_answer(is_answered: bool, health: Health) -> None:
    stage = Stage()
    for number in range(12):
        stage.end(number, stage.send(number), BROKEN)
    stage.now_s = 5.0
    asked = list(stage.watching.probes())
    assert {one.instance for one in asked} == {"one", "two"}
    assert all(one.what.model == A and one.deadline_s == 10.0 for one in asked)
    assert list(stage.watching.probes()) == []

    for one in asked:
        stage.watching.probed(one.instance, is_answered)
    assert stage.health() is health
    stage.now_s = 11.0
    assert len(list(stage.watching.probes())) == (0 if is_answered else 2)
