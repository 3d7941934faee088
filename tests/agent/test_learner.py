import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spoe_agent.agent.ending import STREAMED_S, Ending
from spoe_agent.agent.grant import Grant, Loading
from spoe_agent.agent.learner import BOUND, PUBLISH_INTERVAL_S, RATE_WINDOW_S, Learner, Mean, Rate
from spoe_agent.routing import Tier
from spoe_agent.routing.snapshot import NOTHING

LOADED, LOADING, RELOAD, ROOM, EVICT = Tier
HERE = ("a", "g0")
CACHED = Loading("store", 4 * 10**9, is_cached=True, begins_s=0.0)


def ending(first_byte_s=0.5, total_s=5.0, is_whole=True):
    return Ending(first_byte_s, total_s, is_whole)


def granted(model, instance, tier, loading=CACHED, only_loads=False):
    loading = loading if tier in (ROOM, EVICT) else None
    return Grant("r", instance, model, 0.0, tier, only_loads=only_loads, loading=loading)


def taught(*endings):
    """What a learner shows that saw (tier, ending) of model a on g0."""
    it = Learner()
    for tier, one in endings:
        it.ended(granted(*HERE, tier), one)
    return it.learned(0.0)


def mean_of(*samples):
    it = Mean()
    for seconds in samples:
        it.add(seconds)
    return it


def test_who_has_seen_nothing_says_nothing():
    assert (Learner().learned(0.0).service_s, Learner().learned(0.0).load_s) == ({}, {})


def test_a_warm_request_teaches_service_and_nothing_of_loads():
    learned = taught((LOADED, ending(0.5, 5.0)))
    assert learned.service_s == {HERE: pytest.approx(5.0)}
    assert not learned.load_s


@pytest.mark.parametrize("tier", [ROOM, EVICT])
def test_a_cold_request_teaches_both(tier):
    learned = taught((tier, ending(20.0, 24.0)))
    assert learned.load_s == {HERE: pytest.approx(20.0)}
    assert learned.service_s == {HERE: pytest.approx(4.0)}


def test_a_load_is_what_the_first_byte_took_longer_than_warm():
    learned = taught((LOADED, ending(0.5, 5.0)), (ROOM, ending(20.0, 24.0)))
    assert learned.load_s == {HERE: pytest.approx(19.5)}


def test_a_load_that_was_faster_than_warm_is_short_but_no_nonsense():
    learned = taught((LOADED, ending(2.0, 5.0)), (ROOM, ending(1.0, 4.0)))
    assert 0 < learned.load_s[HERE] < 0.01


@pytest.mark.parametrize("tier", [LOADING, RELOAD, None])
def test_what_waited_for_somebody_elses_load_teaches_nothing(tier):
    assert taught((tier, ending(20.0, 24.0))).load_s == {}
    assert taught((tier, ending(20.0, 24.0))).service_s == {}


@pytest.mark.parametrize("tier", Tier)
def test_who_left_or_failed_teaches_nothing(tier):
    learned = taught((tier, ending(is_whole=False)))
    assert (learned.service_s, learned.load_s) == ({}, {})


@pytest.mark.parametrize("tier", [ROOM, EVICT])
def test_an_answer_that_came_all_at_once_tells_nothing_of_loads(tier):
    """`stream: false`: headers come with the last token, so the time to the first byte is the whole request's."""
    learned = taught((tier, ending(30.0, 30.0 + STREAMED_S)))
    assert (learned.service_s, learned.load_s) == ({}, {})


def test_an_answer_that_came_all_at_once_tells_how_long_a_warm_request_runs():
    learned = taught((LOADED, ending(5.0, 5.0)), (ROOM, ending(20.0, 24.0)))
    assert learned.service_s[HERE] == pytest.approx(math.sqrt(5.0 * 4.0))
    assert learned.load_s[HERE] == pytest.approx(20.0)  # not 15: what is warm is not known by it


def test_what_only_loads_teaches_loads_and_nothing_of_service():
    """Its answer comes all at once, and all of it is the load."""
    it = Learner()
    for tier in Tier:
        it.ended(granted(*HERE, tier, only_loads=True), ending(4.0, 4.0))
    learned = it.learned(0.0)
    assert (learned.load_s, learned.service_s) == ({HERE: pytest.approx(4.0)}, {})
    assert it.load[HERE].samples == 2


def test_models_are_apart():
    it = Learner()
    it.ended(granted("a", "g0", LOADED), ending(total_s=1.0))
    it.ended(granted("b", "g0", LOADED), ending(total_s=2.0))
    assert it.learned(0.0).service_s == {("a", "g0"): pytest.approx(1.0), ("b", "g0"): pytest.approx(2.0)}


def on_two(samples, other_s):
    """Service times of model a, after so many answers of one second on g0 and of others on g1."""
    it = Learner()
    for _ in range(samples):
        it.ended(granted("a", "g0", LOADED), ending(total_s=1.0))
        it.ended(granted("a", "g1", LOADED), ending(total_s=other_s))
    learned = it.learned(0.0).service_s
    return learned["a", "g0"], learned["a", "g1"]


def test_instances_that_differ_by_chance_look_alike():
    here_s, there_s = on_two(3, 3.0)
    assert here_s < there_s < here_s * 3.0**0.1


def test_instances_that_differ_are_told_apart():
    here_s, there_s = on_two(300, 3.0)
    assert here_s * 3.0**0.5 < there_s < here_s * 3.0


def test_what_a_model_takes_elsewhere_says_nothing_of_loads():
    it = Learner()
    it.ended(granted("a", "g0", ROOM), ending(20.0, 24.0))
    it.ended(granted("a", "g1", ROOM), ending(5.0, 9.0))
    assert it.learned(0.0).load_s == {("a", "g0"): pytest.approx(20.0), ("a", "g1"): pytest.approx(5.0)}


def test_what_a_model_takes_usually_counts_where_it_was_not_seen():
    it = Learner()
    for instance, total_s, first_byte_s in (("g0", 1.0, 4.0), ("g1", 4.0, 16.0)):
        it.ended(granted("a", instance, LOADED), ending(0.5, total_s))
        it.ended(granted("a", instance, ROOM), ending(first_byte_s + 0.5, first_byte_s + 0.5 + total_s))
    learned = it.learned(0.0)
    assert learned.usual_service_s == {"a": pytest.approx(2.0)}
    assert learned.usual_load_s == {"a": pytest.approx(8.0)}


def test_the_first_samples_count_alike():
    assert mean_of(1.0, 100.0).seconds == pytest.approx(10.0)
    assert mean_of(1.0, 10.0, 100.0).seconds == pytest.approx(10.0)


@pytest.mark.parametrize("outlier_s", [1e9, 1e-9, 0.0, -5.0])
def test_one_outlier_moves_little(outlier_s):
    it = mean_of(*[10.0] * 10)
    it.add(outlier_s)
    most = BOUND**0.1
    assert 10 / most * 0.999 <= it.seconds <= 10 * most * 1.001


def test_one_stuck_request_in_twenty_stays_without_consequence():
    it = mean_of(*([10.0] * 19 + [3600.0]) * 20)
    assert 8 < it.seconds < 15


def test_a_new_truth_is_learned_however_far_off():
    it = mean_of(*[1.0] * 50, *[300.0] * 250)
    assert it.seconds == pytest.approx(300.0, rel=0.1)


@given(st.lists(st.floats(1e-4, 1e5), min_size=1, max_size=60))
def test_an_estimate_lies_between_the_samples(samples):
    assert min(samples) * 0.999 <= mean_of(*samples).seconds <= max(samples) * 1.001


@given(st.lists(st.floats(-1e6, 1e6), max_size=40), st.floats(1e-3, 1e4), st.integers(3, 40))
def test_a_sample_counts_as_no_more_than_its_bound(before, true_s, times):
    it = mean_of(*before, *[true_s] * times)
    was_s = it.seconds
    it.add(1e12)
    assert was_s < it.seconds <= was_s * BOUND * 1.001


def test_how_often_a_model_is_asked_for():
    it = Rate()
    for second in range(3000):
        it.add(float(second))
    assert it.now(2999.0) == pytest.approx(1.0, rel=0.01)


def test_arrivals_are_forgotten():
    it = Rate()
    it.add(0.0)
    assert it.now(0.0) == pytest.approx(1 / RATE_WINDOW_S)
    assert it.now(RATE_WINDOW_S) == pytest.approx(1 / RATE_WINDOW_S / math.e)
    assert it.now(100 * RATE_WINDOW_S) == pytest.approx(0.0, abs=1e-12)


def test_nobody_asked():
    assert Rate().now(1e9) == 0.0


def test_time_that_goes_back_changes_no_rate():
    it = Rate()
    it.add(10.0)
    assert it.now(5.0) == it.now(10.0)


def test_rates_are_as_of_now():
    it = Learner()
    it.arrived("a", 0.0)
    assert it.learned(0.0).rate_per_s == {"a": pytest.approx(1 / RATE_WINDOW_S)}
    assert it.learned(RATE_WINDOW_S).rate_per_s == {"a": pytest.approx(1 / RATE_WINDOW_S / math.e)}


def test_estimates_that_were_given_out_do_not_change():
    it = Learner()
    it.ended(granted(*HERE, LOADED), ending(total_s=1.0))
    it.arrived("a", 0.0)
    before = it.learned(0.0)
    was = (dict(before.service_s), dict(before.load_s), dict(before.rate_per_s))
    it.ended(granted(*HERE, LOADED), ending(total_s=100.0))
    it.ended(granted(*HERE, ROOM), ending(50.0, 60.0))
    it.arrived("b", 0.0)
    it.learned(PUBLISH_INTERVAL_S)
    assert (before.service_s, before.load_s, before.rate_per_s) == was


def test_they_are_made_anew_at_most_twice_a_second():
    it = Learner()
    before = it.learned(10.0)
    it.ended(granted(*HERE, LOADED), ending())
    assert it.learned(10.0 + 0.99 * PUBLISH_INTERVAL_S) is before
    assert HERE in it.learned(10.0 + PUBLISH_INTERVAL_S).service_s


def test_before_anything_is_learned_nothing_is_known_of_arrivals():
    assert NOTHING.rate_per_s is None
    assert Learner().learned(0.0).rate_per_s == {}
