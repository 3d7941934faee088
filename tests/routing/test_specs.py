import pytest

from spoe_agent.routing import Activity, ModelRule
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


@pytest.mark.parametrize(("of_instance", "of_model", "expected"), [(1, None, 1), (4, None, 4), (4, 1, 1), (1, 3, 3)])
def test_slots_of_a_model(of_instance, of_model, expected):
    assert ModelRule("a", num_parallel=of_model).slots(of_instance) == expected


@pytest.mark.parametrize(
    ("limit", "running", "expected"), [(None, (99,), False), (2, (1,), False), (2, (1, 1), True), (2, (3,), True)]
)
def test_as_many_as_may_run_wherever_that_is(limit, running, expected):
    accounts = [Activity({A: number, B: 9}) for number in running]
    assert ModelRule("a", max_concurrent=limit).is_at_limit(A, accounts) is expected
