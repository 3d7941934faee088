from spoe_agent.routing import Action, Candidate, Choice, Cost, Tier


def test_total_is_the_sum_of_all_terms():
    assert Cost(wait_s=1, load_s=2, behind_s=4, price_s=8, share_s=16, prefix_s=-32).total_s == -1
    assert Candidate("g0").cost.total_s == 0


def test_tiers_are_ordered_from_warm_to_cold():
    assert sorted(Tier) == [Tier.LOADED, Tier.LOADING, Tier.RELOAD, Tier.ROOM, Tier.EVICT]


def test_victims_are_those_of_the_instance_that_was_chosen():
    candidates = (Candidate("g0", victims=("a",)), Candidate("g1", victims=("b", "c")), Candidate("g2"))

    def victims(instance):
        return Choice(Action.ROUTE, "evict", instance, candidates=candidates).victims

    assert (victims("g0"), victims("g1"), victims("g2"), victims(None)) == (("a",), ("b", "c"), (), ())
