import pytest

from spoe_agent.routing import Activity, Kind, ModelRule
from spoe_agent.routing import estimates as e
from spoe_agent.routing.demand import demand, site
from spoe_agent.routing.specs import NO_RULE

from .builders import CLOUD, FOUR_GIB, A, asks, counts, fleet, moment, state

INFERENCE, DESCRIBE, MANAGE, LIST = Kind
RULE = ModelRule("a")
OF = fleet("g0", rules=[RULE])


@pytest.mark.parametrize(
    ("facts", "model", "runs", "rule"),
    [
        (asks(), A, True, RULE),
        (asks(kind=DESCRIBE), A, False, RULE),
        (asks(CLOUD), "", False, NO_RULE),
        (asks(CLOUD, DESCRIBE), "", False, NO_RULE),
        (asks(None, LIST), "", False, NO_RULE),
        (asks(A, MANAGE), "", False, NO_RULE),
    ],
)
def test_what_the_instance_must_have(facts, model, runs, rule):
    need = demand(facts, OF, moment())
    assert (need.model, need.runs, need.rule) == (model, runs, rule)


def test_sizes_are_looked_up_once():
    need = demand(asks(), OF, moment(g0=state()))
    assert need.weights_bytes == FOUR_GIB
    assert need.load_s == e.load_s(FOUR_GIB)
    assert need.service_s == e.service_s(FOUR_GIB)


CONNECTIONS = [
    # HAProxy's counts, the board's account -> requests on the instance
    (None, None, 0),
    (None, Activity(in_flight={A: 2, CLOUD: 1}, unseen=9), 3),
    (counts(4, 2), None, 6),
    (counts(4, 2), Activity(in_flight={A: 9}), 6),
    (counts(4, 2), Activity(in_flight={A: 7}, unseen=1), 7),
]


@pytest.mark.parametrize(("load", "activity", "expected"), CONNECTIONS)
def test_requests_on_the_instance(load, activity, expected):
    facts, reading = asks(loads={"g0": load} if load else {}), state()
    found = site(OF.instances[0], facts, moment({"g0": activity} if activity else None, g0=reading))
    assert (found.spec, found.state, found.load, found.connections) == (OF.instances[0], reading, load, expected)
