import pytest

from spoe_agent.routing import Action, Candidate, Choice, Cost, Kind, Reason, Tier
from spoe_agent.routing.choice import PASSING, STATUS

OF_ROUTES = {*(tier.name.lower() for tier in Tier), *Kind}


def test_total_is_the_sum_of_all_terms():
    assert Cost(wait_s=1, load_s=2, behind_s=4, price_s=8, share_s=16, prefix_s=-32).total_s == -1
    assert Candidate("g0").cost.total_s == 0


def test_tiers_are_ordered_from_warm_to_cold():
    assert sorted(Tier) == [Tier.LOADED, Tier.LOADING, Tier.RELOAD, Tier.ROOM, Tier.EVICT]


def test_victims_are_those_of_the_instance_that_was_chosen():
    candidates = (Candidate("g0", victims=("a",)), Candidate("g1", victims=("b", "c")), Candidate("g2"))

    def victims(instance):
        return Choice(Action.ROUTE, Reason.EVICT, instance, candidates=candidates).victims

    assert (victims("g0"), victims("g1"), victims("g2"), victims(None)) == (("a",), ("b", "c"), (), ())


@pytest.mark.parametrize("reason", Reason)
def test_each_reason_is_of_a_route_or_has_a_status(reason):
    assert (reason in OF_ROUTES) is not (reason in STATUS)


def test_there_is_a_reason_for_every_tier_and_kind():
    assert set(Reason) >= OF_ROUTES


@pytest.mark.parametrize(("reason", "status"), [(Reason.LOADED, 0), (Reason.NOT_FOUND, 404), (Reason.NO_LISTS, 503)])
def test_the_status_follows_from_the_reason(reason, status):
    assert Choice(Action.REJECT if status else Action.ROUTE, reason).status == status


def test_only_what_asks_to_try_again_may_pass():
    assert {STATUS[reason] for reason in PASSING} == {503}


def test_who_comes_around_again_is_told_why():
    assert Choice(Action.ROUTE, Reason.LOADED, "g1").reason_text == "loaded"
    again = Choice(Action.ROUTE, Reason.LOADED, "g1", failed=("g0", "g2"))
    assert (again.reason, again.reason_text) == (Reason.LOADED, "again: g0, g2 failed")
