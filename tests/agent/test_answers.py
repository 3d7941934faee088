import pytest

from spoe_agent.agent.agent import Agent
from spoe_agent.agent.answers import MAX_EARLY
from spoe_agent.agent.board import Board
from spoe_agent.routing import (
    Action,
    Dialect,
    FleetSpec,
    Health,
    InstanceSpec,
    InstanceState,
    Kind,
    LoadedModel,
    Policy,
    RequestFacts,
)
from spoe_agent.routing.names import canonical

A = canonical("a")
FLEET = FleetSpec((InstanceSpec("g0", 100),), policy=Policy(hold_s=60.0))


async def refresh():
    """Lists are always current here."""


class Door:
    """An agent with one slot, and who waits at it; notes each answer as (asked as, request's id, action)."""

    def __init__(self):
        self.now_s = 0.0
        self.agent = Agent(FLEET, Board(), refresh, clock=lambda: self.now_s)
        self.agent.published("g0", InstanceState(Health.UP, {A: LoadedModel(1, 1)}, 0.0, {A: 1}, 0.0))
        self.answers = []

    def decide(self, *ids):
        return [self.agent.decide(RequestFacts(one, Kind.INFERENCE, Dialect.OLLAMA, A)).action for one in ids]

    def ask(self, request_id, as_name=None):
        def answer(choice, request):
            self.answers.append((as_name or request_id, request.request_id, choice.action))

        return self.agent.ask(request_id, answer)


@pytest.fixture
def door():
    it = Door()
    assert it.decide("1", "2", "3") == [Action.ROUTE, Action.HOLD, Action.HOLD]
    return it


def test_asked_and_then_granted(door):
    assert door.ask("2")
    assert door.answers == []
    door.agent.ended("1")
    assert door.answers == [("2", "2", Action.ROUTE)]


def test_granted_and_then_asked(door):
    door.agent.ended("1")
    assert door.answers == []
    assert door.ask("2")
    assert door.answers == [("2", "2", Action.ROUTE)]


def test_each_grant_is_given_once(door):
    door.agent.ended("1")
    assert door.ask("2")
    assert not door.ask("2")
    door.agent.ended("2")
    assert len(door.answers) == 1


def test_each_gets_his_own(door):
    door.ask("3")
    door.ask("2")
    door.agent.ended("1")
    door.agent.ended("2")
    assert [name for name, _, _ in door.answers] == ["2", "3"]


@pytest.mark.parametrize("request_id", ["1", "9", ""])
def test_what_is_not_held_is_not_known(door, request_id):
    """Routed at once, or held by the agent that was here before us."""
    assert not door.ask(request_id)
    door.agent.ended("1")
    assert door.answers == []


def test_who_waits_too_long_is_told(door):
    door.ask("2")
    door.now_s += 60.1
    door.agent.tick()
    assert door.answers == [("2", "2", Action.REJECT)]


def test_who_waited_too_long_before_asking_is_told_when_he_asks(door):
    door.now_s += 60.1
    door.agent.tick()
    assert door.ask("2")
    assert door.answers == [("2", "2", Action.REJECT)]


def test_when_the_agent_stops_all_are_answered(door):
    door.ask("2")
    door.agent.flush()
    assert door.answers == [("2", "2", Action.ROUTE)]
    assert door.ask("3")
    assert door.answers[1:] == [("3", "3", Action.ROUTE)]


def test_a_connection_that_closed_gives_up_its_place(door):
    door.ask("2")
    door.ask("3")
    door.agent.give_up("2")
    assert "2" not in door.agent.hold
    door.agent.ended("1")
    assert door.answers == [("3", "3", Action.ROUTE)]


def test_forgetting_what_nobody_asked_for_changes_nothing(door):
    door.agent.give_up("1")
    door.agent.give_up("2")
    door.agent.give_up("9")
    assert len(door.agent.hold) == 2
    assert door.agent.board.grants == 1


def test_a_client_that_left_while_held_keeps_nobody_waiting(door):
    """Its log line came. Whoever waits for its answer is told, or would wait as long as the connection lives."""
    door.ask("2")
    door.agent.ended("2")
    assert door.answers == [("2", "2", Action.REJECT)]
    door.agent.give_up("2")
    assert not door.ask("2")


def test_a_client_that_left_before_anybody_asked_is_not_known(door):
    door.agent.ended("2")
    assert not door.ask("2")
    assert door.answers == []


def test_grants_that_nobody_asks_for_are_forgotten_oldest_first():
    door = Door()
    ids = [str(number) for number in range(MAX_EARLY + 3)]
    door.decide(*ids)
    door.agent.flush()
    assert not door.ask("1")
    assert not door.ask("2")
    assert door.ask("3")
    assert door.ask(ids[-1])


def test_who_comes_around_again_is_told_anew(door):
    """Nothing of the first pass is left: neither an answer that nobody fetched, nor one that nobody waits for."""

    def again(request_id):
        facts = RequestFacts(request_id, Kind.INFERENCE, Dialect.OLLAMA, A, tried=("",))
        return door.agent.decide(facts).action

    assert door.ask("3", "first pass")
    assert again("3") is Action.HOLD
    assert door.answers == [("first pass", "3", Action.REJECT)]
    assert door.ask("3", "second pass")
    door.agent.ended("1")
    door.agent.ended("3")
    assert again("2") is Action.ROUTE
    assert not door.ask("2")
    assert door.answers[1:] == [("second pass", "3", Action.REJECT)]
