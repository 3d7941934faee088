from itertools import combinations

import pytest

from spoe_agent.routing import Action, Candidate, Exclusion, Reason
from spoe_agent.routing.choice import PASSING, STATUS
from spoe_agent.routing.facts import RequestProblem
from spoe_agent.routing.rejections import UNREAD, unread, unserved
from tests.routing.builders import A, asks, fleet, here, spec, state

GONE_FOR_GOOD = {Exclusion.NOT_PINNED, Exclusion.NOT_INSTALLED}
OF_INSTANCES = [one for one in Exclusion if one is not Exclusion.NOT_ASKED_FOR]
"""Reasons of an instance's own; who asked for another one hears that one's (test_wishes)."""
MAY_PASS = set(OF_INSTANCES) - GONE_FOR_GOOD - {Exclusion.CANNOT_FIT}


def refused(*exclusions):
    demand, _ = here(spec("g0"), state())
    return unserved(demand, tuple(Candidate(f"g{i}", one, "for a reason") for i, one in enumerate(exclusions)))


@pytest.mark.parametrize("exclusion", OF_INSTANCES)
def test_every_exclusion_has_an_answer_and_only_a_model_that_nobody_has_is_not_found(exclusion):
    choice = refused(exclusion)
    assert (choice.action, choice.instance) == (Action.REJECT, None)
    assert (choice.reason is Reason.NOT_FOUND) is (exclusion in GONE_FOR_GOOD)
    assert (choice.reason in PASSING) is (choice.retry_after_s is not None) is (exclusion in MAY_PASS)
    assert (choice.message == "model 'a:latest' not found") is (exclusion in GONE_FOR_GOOD)


@pytest.mark.parametrize("pair", list(combinations(OF_INSTANCES, 2)), ids=str)
def test_of_several_the_one_tells_that_may_pass_and_whatever_their_order(pair):
    either, other = refused(*pair), refused(*reversed(pair))
    assert either.reason is other.reason
    assert (either.reason in PASSING) is bool(MAY_PASS & set(pair))


def test_where_there_is_no_instance_at_all_nothing_is_not_found():
    assert refused().reason is Reason.NO_INSTANCE_UP


@pytest.mark.parametrize("problem", RequestProblem)
def test_every_problem_has_an_answer(problem):
    choice = unread(asks(None, problem=problem, detail="why"), problem, fleet("g0"))
    assert (choice.action, choice.reason, choice.status) == (Action.REJECT, UNREAD[problem], STATUS[UNREAD[problem]])
    assert choice.message


def test_the_name_is_told_as_it_is_shown_or_was_asked():
    demand, _ = here(spec("g0"), state(), facts=asks(None).naming("A"))
    assert demand.model == A
    assert unserved(demand, (Candidate("g0", Exclusion.NOT_INSTALLED),)).message == "model 'A' not found"
