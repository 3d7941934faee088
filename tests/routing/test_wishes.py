"""A request that wants one instance is served there or nowhere."""

import pytest

from spoe_agent.routing import Action, Exclusion, Health, Kind, Reason, choose
from spoe_agent.routing.hold import lane
from spoe_agent.routing.wishes import Wishes
from tests.routing.builders import A, B, asks, fleet, moment, state

FLEET = fleet("g0", "g1")
ONLY_G1 = " (only g1 was asked for, by the header x-pointsman-instance)"


def wanting(instance="g1", model=A, **more):
    return asks(model, wishes=Wishes(instance), **more)


def test_only_the_one_that_is_wanted_serves():
    choice = choose(wanting(), FLEET, moment(g0=state(A), g1=state()))
    assert (choice.action, choice.instance) == (Action.ROUTE, "g1")
    assert choice.candidates[0].exclusion is Exclusion.NOT_ASKED_FOR


CASES = [
    (state(A), state(health=Health.DOWN), Reason.NO_INSTANCE_UP, "no Ollama instance that serves model 'a' is up"),
    (state(A), state(installed=(B,)), Reason.NOT_FOUND, "model 'a' not found"),
    (state(A), state(health=Health.DRAINED), Reason.NO_INSTANCE_UP, "no Ollama instance that serves model 'a' takes"),
]


@pytest.mark.parametrize(("g0", "g1", "reason", "told"), CASES, ids=[str(case[3]) for case in CASES])
def test_where_it_cannot_the_reason_is_its_own(g0, g1, reason, told):
    choice = choose(wanting(asked="a"), FLEET, moment(g0=g0, g1=g1))
    assert (choice.action, choice.reason) == (Action.REJECT, reason)
    assert choice.message.startswith(told)
    assert choice.message.endswith(ONLY_G1)


@pytest.mark.parametrize("kind", [Kind.INFERENCE, Kind.LIST, Kind.DESCRIBE, Kind.UNLOAD])
def test_one_that_there_is_not(kind):
    choice = choose(wanting("g9", None if kind is Kind.LIST else A, kind=kind), FLEET, moment(g0=state(A), g1=state(A)))
    assert (choice.reason, choice.status) == (Reason.NOT_FOUND, 404)
    assert choice.message == "no instance is called 'g9' (header x-pointsman-instance)"


def test_it_is_unloaded_there_alone():
    there = moment(g0=state(A), g1=state(A))
    assert choose(asks(A, kind=Kind.UNLOAD), FLEET, there).unloads
    choice = choose(wanting(kind=Kind.UNLOAD), FLEET, there)
    assert (choice.instance, choice.unloads) == ("g1", ())


def test_who_wants_one_instance_waits_in_a_lane_apart():
    assert len({lane(asks(A)), lane(wanting()), lane(wanting("g0"))}) == 3
