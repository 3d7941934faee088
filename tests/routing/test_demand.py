from dataclasses import replace

import pytest

from spoe_agent.routing import Activity, Kind, ModelRule
from spoe_agent.routing import estimates as e
from spoe_agent.routing.demand import Demand, Models, Site
from spoe_agent.routing.memory import ModelShape
from spoe_agent.routing.snapshot import NOTHING, Learned
from spoe_agent.routing.specs import NO_RULE
from tests.routing.builders import CLOUD, FOUR_GIB, A, B, C, asks, counts, fleet, here, moment, spec, state

INFERENCE, DESCRIBE, MANAGE, LIST, UNLOAD = Kind
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
    demand = Demand.of(facts, OF, moment())
    assert (demand.model, demand.runs, demand.rule) == (model, runs, rule)


def test_sizes_are_those_that_any_instance_lists_or_the_fleet_files():
    demand = Demand.of(asks(), fleet("g0", rules=[ModelRule("b", size_bytes=7)]), moment(g9=state(installed=(A,))))
    assert demand.weights_bytes == demand.models[A].weights_bytes == FOUR_GIB
    assert demand.models[B].weights_bytes == 7
    assert demand.models[C].weights_bytes == e.UNKNOWN_WEIGHTS_BYTES


def test_a_copy_is_the_model_that_it_is_a_copy_of_but_for_its_rules():
    of = fleet("g0", rules=[ModelRule("b", instances=("g9",)), ModelRule("a", priority=7)])
    demand = Demand.of(asks(B, namesake=A), of, moment(learned=Learned(service_s={(A, "g0"): 42.0}), g0=state()))
    assert (demand.model, demand.rule, demand.service_of("g0")) == (A, of.rules[0], 42.0)


def test_each_model_is_looked_up_once():
    demand = Demand.of(asks(), OF, moment(g0=state(B)))
    assert set(demand.models) == {A}
    assert demand.models[B] is demand.models[B]
    assert set(demand.models) == {A, B}


def test_nothing_is_looked_up_where_no_model_is_needed():
    assert not Demand.of(asks(None, LIST), OF, moment()).models


def test_how_long_the_request_itself_takes():
    demand = Demand.of(asks(), OF, moment(learned=Learned(service_s={(A, "g0"): 42.0}), g0=state()))
    assert demand.service_of("g0") == 42.0
    assert demand.service_of("g1") == e.service_s(NOTHING, A, "g1", FOUR_GIB)


def test_how_long_other_models_take_to_load():
    learned = Learned(load_s={(B, "g0"): 42.0})
    demand = Demand.of(asks(), OF, moment(learned=learned, g0=state()))
    assert demand.load_of(B, spec("g0")) == 42.0
    assert demand.load_of(B, spec("g1")) == e.usual_load_s(NOTHING, B, FOUR_GIB)


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
    found = Site.of(OF.instances[0], facts, moment({"g0": activity} if activity else None, g0=reading))
    assert (found.spec, found.state, found.load, found.connections) == (OF.instances[0], reading, load, expected)


BUSY = [
    # HAProxy's connections, the board's account, loaded models -> requests of A
    (None, {}, (A,), 0),
    (None, {A: 3, B: 1}, (A, B), 3),
    (4, {A: 3, B: 1}, (A, B), 3),
    (6, {A: 3, B: 1}, (A, B), 4),  # two that the board does not know, shared out
    (6, {B: 1}, (A, B), 2.5),
    (2, {}, (), 2),
    (1, {A: 3}, (A,), 3),  # HAProxy's count is behind
]


@pytest.mark.parametrize(("counted", "in_flight", "loaded", "expected"), BUSY)
def test_requests_of_a_model_on_the_instance(counted, in_flight, loaded, expected):
    facts = asks(loads={} if counted is None else {"g0": counts(counted)})
    _, found = here("g0", state(*loaded), Activity(in_flight=in_flight), facts)
    assert found.busy(A) == expected


def test_an_instance_nobody_heard_of():
    found = Site.of(spec("g0"), asks(), moment())
    assert (found.connections, found.busy(A), found.load) == (0, 0, None)


@pytest.mark.parametrize(("in_file", "expected"), [(None, ModelShape(7)), (ModelShape(9), ModelShape(9))])
def test_a_models_shape_is_what_it_says_itself_unless_the_file_says_it(in_file, expected):
    of = replace(fleet("g0"), rules=(ModelRule("a", shape=in_file, priority=3),))
    models = Models(of, replace(moment(g0=state()), shapes={A: ModelShape(7)}))
    assert models[A].rule == ModelRule("a", shape=expected, priority=3)
    assert models[B].rule.shape is None
