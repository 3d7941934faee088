import pytest

from spoe_agent.routing import estimates as e
from spoe_agent.routing.learned import NOTHING, Learned
from tests.routing.builders import FOUR_GIB, A, B

KNOWN = Learned({(A, "g0"): 7.0}, {(A, "g0"): 30.0}, {A: 0.01})


def test_what_was_learned_counts_for_its_model_on_its_instance_only():
    assert e.service_s(KNOWN, A, "g0", FOUR_GIB) == 7.0
    assert e.load_s(KNOWN, A, "g0", FOUR_GIB) == 30.0
    for model, instance in ((A, "g1"), (B, "g0")):
        assert e.service_s(KNOWN, model, instance, FOUR_GIB) == e.service_s(NOTHING, model, instance, FOUR_GIB) != 7.0
        assert e.load_s(KNOWN, model, instance, FOUR_GIB) == e.load_s(NOTHING, model, instance, FOUR_GIB) != 30.0


def test_what_a_model_takes_elsewhere_comes_before_the_prior():
    known = Learned({(A, "g0"): 7.0}, {(A, "g0"): 30.0}, usual_service_s={A: 8.0}, usual_load_s={A: 25.0})
    assert [e.service_s(known, A, name, FOUR_GIB) for name in ("g0", "g1")] == [7.0, 8.0]
    assert [e.load_s(known, A, name, FOUR_GIB) for name in ("g0", "g1")] == [30.0, 25.0]
    assert e.service_s(known, B, "g1", FOUR_GIB) == e.service_s(NOTHING, B, "g1", FOUR_GIB)


def test_a_time_of_zero_is_a_time():
    assert e.load_s(Learned(load_s={(A, "g0"): 0.0}), A, "g0", FOUR_GIB) == 0.0
    assert e.service_s(Learned(service_s={(A, "g0"): 0.0}), A, "g0", FOUR_GIB) == 0.0


WANTED = [
    # requests per second, within -> the chance that one comes
    (None, 300.0, 1.0),
    ({}, 300.0, 0.0),
    ({B: 9.0}, 300.0, 0.0),
    ({A: 0.0}, 300.0, 0.0),
    ({A: 0.01}, 0.0, 0.0),
    ({A: 0.01}, 100.0, 0.632),
    ({A: 0.01}, 300.0, 0.950),
    ({A: 5.0}, 300.0, 1.0),
]


@pytest.mark.parametrize(("rates", "within_s", "chance"), WANTED)
def test_whether_a_model_is_wanted_again(rates, within_s, chance):
    assert e.wanted_again(Learned(rate_per_s=rates), A, within_s) == pytest.approx(chance, abs=0.001)


def test_nothing_is_known_of_arrivals_is_not_the_same_as_none_came():
    assert NOTHING.rate_per_s is None
    assert not NOTHING.service_s
    assert not NOTHING.load_s


def test_what_is_learned_is_frozen():
    with pytest.raises(AttributeError):
        KNOWN.load_s = {}
    with pytest.raises(TypeError):
        NOTHING.load_s[(A, "g0")] = 1.0
