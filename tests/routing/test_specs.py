from spoe_agent.routing import ModelRule
from spoe_agent.routing.specs import NO_RULE
from tests.routing.builders import A, B, C, fleet


def test_the_first_rule_that_matches_holds():
    first, second, rest = ModelRule("a", size_bytes=1), ModelRule("b"), ModelRule("[ab]:*")
    of = fleet("g0", rules=[first, second, rest])
    assert of.rule(A) is first
    assert of.rule(B) is second


def test_without_a_rule_nothing_is_said():
    assert fleet("g0", rules=[ModelRule("a")]).rule(C) is NO_RULE
    assert ModelRule(NO_RULE.match) == NO_RULE
