from spoe_agent.routing import Candidate, Cost, Tier


def test_total_is_the_sum_of_all_terms():
    assert Cost(wait_s=1, load_s=2, behind_s=4, price_s=8, share_s=16).total_s == 31
    assert Candidate("g0").cost.total_s == 0


def test_tiers_are_ordered_from_warm_to_cold():
    assert sorted(Tier) == [Tier.LOADED, Tier.LOADING, Tier.ROOM, Tier.EVICT]
