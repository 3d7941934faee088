"""What the board learns of contexts from what was granted and what `/api/ps` shows."""

import pytest

from spoe_agent.agent.board import Board
from spoe_agent.agent.grant import Grant
from spoe_agent.routing import Health, InstanceState, LoadedModel, Tier
from spoe_agent.routing.names import canonical

A, B, C = (canonical(name) for name in ("a", "b", "c"))


def listing(at_s, health=Health.UP, **contexts):
    return InstanceState(health, {canonical(name): LoadedModel(1, 1, has) for name, has in contexts.items()}, at_s)


def seen(it, instance="g0"):
    state = it.state(instance)
    return dict(state.own_contexts), state.usual_context


def test_what_is_loaded_unasked_tells_the_context_that_models_have_by_themselves():
    it = Board()
    assert seen(it) == ({}, None)
    it.publish("g0", listing(0.0, a=4096))
    assert seen(it) == ({A: 4096}, 4096), "from before we came"
    it.grant(Grant("1", "g0", B, 1.0))
    it.publish("g0", listing(2.0, a=4096, b=16384))
    assert seen(it) == ({A: 4096, B: 16384}, 16384), "as many have less"
    it.grant(Grant("2", "g0", C, 3.0))
    it.publish("g0", listing(4.0, a=4096, b=16384, c=4096))
    assert seen(it)[1] == 4096
    it.publish("g0", listing(5.0))
    assert seen(it) == ({A: 4096, B: 16384, C: 4096}, 4096), "of models that have gone too"


ASKED = {
    # what the request asks for, what is listed then -> what the model has by itself
    "nobody asked": (None, 8192, {A: 8192}),
    "asked for that": (8192, 8192, {}),
    "asked for more than the model can do": (99_999, 8192, {}),
    "asked for less than there is: others loaded it": (2048, 8192, {A: 8192}),
    "an Ollama that does not say": (None, 0, {}),
}


@pytest.mark.parametrize(("asked", "has", "expected"), ASKED.values(), ids=ASKED)
@pytest.mark.parametrize("ended", [False, True])
def test_what_was_asked_for_tells_nothing_of_it(asked, has, expected, ended):
    it, one = Board(), Grant("1", "g0", A, 1.0, Tier.ROOM, asked)
    it.publish("g0", listing(0.0))
    it.grant(one)
    if ended:
        it.served(one, 1.5)
        it.end("1")
    it.publish("g0", listing(2.0, a=has))
    assert seen(it)[0] == expected
    it.publish("g0", listing(3.0, a=has))
    assert seen(it)[0] == expected, "it is still the same load"


def test_a_load_back_to_what_a_model_has_by_itself_tells_it():
    it = Board()
    it.publish("g0", listing(0.0))
    for number, asked, has in (("1", 1024, 1024), ("2", None, 2048)):
        one = Grant(number, "g0", A, 1.0, Tier.RELOAD, asked)
        it.grant(one)
        it.served(one, 2.0)
        it.end(number)
        it.publish("g0", listing(3.0, a=has))
    assert seen(it)[0] == {A: 2048}


def test_a_reload_that_was_wrongly_expected_tells_it_too():
    """Whoever loaded it asked for what it has by itself."""
    it = Board()
    it.publish("g0", listing(0.0))
    it.grant(Grant("1", "g0", A, 1.0, Tier.ROOM, 16384))
    it.publish("g0", listing(2.0, a=16384))
    it.end("1")
    it.publish("g0", listing(3.0, a=16384))
    unasked = Grant("2", "g0", A, 4.0, Tier.RELOAD)
    it.grant(unasked)
    it.served(unasked, 5.0)
    it.end("2")
    it.publish("g0", listing(6.0, a=16384))
    assert (seen(it)[0], dict(it.activity("g0").loading)) == ({A: 16384}, {})


def test_an_instance_that_went_down_may_come_back_with_other_settings():
    it = Board()
    it.publish("g0", listing(0.0, a=4096))
    it.publish("g0", listing(1.0))
    assert seen(it) == ({A: 4096}, 4096)
    it.publish("g0", listing(2.0, Health.DOWN))
    assert seen(it) == ({}, None)
    it.publish("g0", listing(3.0, a=32768))
    it.forget_instance("g0")
    assert seen(it) == ({}, None)


def test_what_a_model_has_by_itself_on_one_instance_is_expected_on_others():
    it = Board()
    it.publish("g0", listing(0.0, a=4096, b=16384, c=4096))
    it.publish("g1", listing(0.0))
    assert it.snapshot({}, 0.0).own_contexts == {B: 16384}
    it.publish("g0", listing(1.0, Health.DOWN))
    assert it.snapshot({}, 1.0).own_contexts == {}


def test_the_next_agent_knows_what_models_are_loaded_with():
    it, successor = Board(), Board()
    it.publish("g0", listing(0.0, b=4096))
    it.grant(Grant("1", "g0", A, 1.0, Tier.ROOM, 1024))
    it.publish("g0", listing(2.0, a=1024, b=4096))
    it.end("1")
    successor.take(it.ledgers(), 3.0)
    successor.publish("g0", listing(4.0, a=1024, b=4096))
    assert seen(successor) == seen(it) == ({B: 4096}, 4096)
