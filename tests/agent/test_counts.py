"""Numbers that only grow."""

import pytest

from spoe_agent.agent.counts import MAX_MODELS, OTHERS, Counts, Histogram, predicted_s
from spoe_agent.routing import Action, Candidate, Choice, Reason, Tier
from spoe_agent.routing.choice import Cost


@pytest.mark.parametrize(("value", "place"), [(0.0, 0), (0.1, 0), (0.11, 1), (1.0, 1), (7.0, 2)])
def test_a_value_counts_at_the_first_bound_that_it_does_not_exceed(value, place):
    found = Histogram((0.1, 1.0))
    found.add(value)
    assert found.counts == [int(number == place) for number in range(3)]
    assert found.total == value


def test_the_predicted_first_token_is_what_comes_before_it():
    cost = Cost(wait_s=1.0, load_s=2.0, behind_s=4.0, price_s=100.0, share_s=100.0, slow_s=100.0, prefix_s=-0.5)
    assert predicted_s(cost, 0.25) == 6.75
    assert predicted_s(Cost(prefix_s=-0.5), 0.25) == 0.0


@pytest.mark.parametrize(
    ("tier", "loads"),
    [(Tier.LOADED, 0), (Tier.LOADING, 0), (Tier.RELOAD, 1), (Tier.ROOM, 1), (Tier.EVICT, 1), (None, 0)],
)
def test_what_begins_a_load(tier, loads):
    counts = Counts()
    victims = ("x", "y") if tier is Tier.EVICT else ()
    counts.granted(Choice(Action.ROUTE, Reason.LOADED, "g0", tier, candidates=(Candidate("g0", victims=victims),)))
    assert sum(counts.loads.values()) == loads
    assert counts.evictions == ({"g0": 2} if victims else {})


def test_names_of_models_are_bounded():
    counts = Counts()
    for number in range(2 * MAX_MODELS):
        counts.decided(Choice(Action.ROUTE, Reason.LOADED, "g0"), f"m{number}")
    assert len(counts.models) == MAX_MODELS + 1
    assert counts.models[OTHERS, Action.ROUTE] == MAX_MODELS
    counts.decided(Choice(Action.REJECT, Reason.NOT_FOUND), "nobody's")
    counts.decided(Choice(Action.ROUTE, Reason.LIST, "g0"), None)
    assert len(counts.models) == MAX_MODELS + 1
