"""Requests and loads that do not come to their end, by the board's grants."""

import pytest

from spoe_agent.agent.grant import Grant
from spoe_agent.instances.stall import Expected, load_stall, stall
from spoe_agent.routing.choice import Tier

USUAL = Expected(first_byte_s=1.0, service_s=4.0, load_s=3.0, slots=2)


def grants(*at_s, model="m"):
    return [Grant(f"r{number}", "g0", model, since_s, Tier.LOADED) for number, since_s in enumerate(at_s)]


@pytest.mark.parametrize(
    ("waiting", "signs", "now_s", "proven"),
    [
        ([], {}, 1000.0, None),
        (grants(0.0), {}, 10.0, None),
        (grants(0.0), {}, 10.1, False),
        (grants(0.0), {"m": 5.0}, 12.0, None),
        (grants(0.0), {"m": 5.0}, 15.1, False),
        (grants(0.0, 1.0), {}, 39.0, None),
        (grants(0.0, 1.0), {}, 41.0, True),
        (grants(0.0, 1.0), {"m": 39.0}, 50.0, None),
    ],
)
def test_stall(waiting, signs, now_s, proven):
    """With a free slot a probe is to tell; with none, silence must last ten times as long as whole requests."""
    found = stall(waiting, signs, lambda _: USUAL, 10.0, now_s)
    assert (None if found is None else found.is_proven) == proven


@pytest.mark.parametrize(
    ("waiting", "now_s", "proven"), [((0.0, 1.0), 199.0, None), ((0.0, 1.0), 201.0, True), ((0.0,), 11.0, False)]
)
def test_with_no_free_slot_silence_must_last_beyond_the_longest_lately(waiting, now_s, proven):
    found = stall(grants(*waiting), {}, lambda _: USUAL._replace(longest_s=100.0), 10.0, now_s)
    assert (None if found is None else found.is_proven) == proven


def test_the_silent_model_is_named():
    waiting = grants(0.0, model="registry.ollama.ai/library/m:latest")
    found = stall(waiting, {}, lambda _: USUAL, 10.0, 30.0)
    assert (found.model, found.why) == (
        "registry.ollama.ai/library/m:latest",
        "no request of m:latest has ended for 30 s, 1 in flight",
    )


@pytest.mark.parametrize(
    ("loading", "in_flight", "now_s", "stuck"),
    [
        ({}, {}, 1000.0, False),
        ({"a": 0.0}, {"a": 1}, 20.0, False),
        ({"a": 0.0}, {"a": 1}, 20.1, True),
        ({"a": 0.0}, {}, 1000.0, False),
        ({"a": 0.0, "b": 1.0, "c": 2.0}, {"a": 1, "b": 1, "c": 1}, 40.0, False),
        ({"a": 0.0, "b": 1.0, "c": 2.0}, {"a": 1, "b": 1, "c": 1}, 45.1, True),
    ],
)
def test_load_stall(loading, in_flight, now_s, stuck):
    """Each load may have to wait for all the others; one that nobody waits for proves nothing."""
    assert bool(load_stall(loading, in_flight, lambda _: USUAL, 20.0, now_s)) == stuck
