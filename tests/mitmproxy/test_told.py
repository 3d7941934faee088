import json

from hypothesis import given

from spoe_agent.mitmproxy.told import account, summary
from spoe_agent.routing import Action, Candidate, Choice, Exclusion, Reason, Tier, choose
from spoe_agent.routing.choice import Cost
from tests.routing.builders import situations


def test_every_instance_with_its_reasons():
    warm = Candidate("g0", tier=Tier.LOADED, cost=Cost(wait_s=1.5))
    out = Candidate("g1", Exclusion.DOWN, "refuses connections")
    told = account(Choice(Action.ROUTE, Reason.LOADED, "g0", Tier.LOADED, candidates=(warm, out)))
    assert (told["action"], told["instance"], told["reason"]) == ("route", "g0", "loaded")
    first, second = told["candidates"]
    assert (first["tier"], first["cost"]["wait_s"], first["excluded"]) == ("loaded", 1.5, None)
    assert (second["excluded"], second["detail"], second["tier"]) == ("down", "refuses connections", None)


def test_one_line():
    chosen = Candidate("g0", tier=Tier.LOADED)
    dear = Candidate("g1", tier=Tier.EVICT, cost=Cost(load_s=4.0, wait_s=0.25))
    out = Candidate("g2", Exclusion.DOWN, "refuses connections")
    routed = Choice(Action.ROUTE, Reason.LOADED, "g0", Tier.LOADED, candidates=(chosen, dear, out))
    assert summary(routed) == "g0: loaded | g1: evict, 4.2 s | g2: down (refuses connections)"
    listed = Choice(Action.ROUTE, Reason.LIST, "g0", candidates=(Candidate("g0"), Candidate("g1")))
    assert summary(listed) == "g0: list | g1: 0.0 s"
    assert summary(Choice(Action.REJECT, Reason.UNREADABLE)) == "400: unreadable"


@given(situations())
def test_any_choice_is_plain_data(situation):
    choice = choose(*situation)
    assert json.loads(json.dumps(account(choice))) == account(choice)
