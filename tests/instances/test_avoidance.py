"""For how long an instance is passed over."""

from spoe_agent.instances.avoidance import FIRST_S, FORGOTTEN_S, LONGEST_S, Avoidance
from spoe_agent.routing.names import canonical
from spoe_agent.routing.snapshot import ANY_MODEL, Avoided

A, B = canonical("a"), canonical("b")


def test_twice_as_long_each_time_up_to_a_minute_and_anew_when_it_was_well_for_long():
    it, now_s, pauses = Avoidance(), 100.0, []
    for _ in range(9):
        pauses.append(it.add(A, "answered 404", now_s, now_s))
        assert it.now(now_s) == {A: Avoided(now_s + pauses[-1], "answered 404")}
        now_s += pauses[-1]
    # What is over is told until it has served, or was well for long.
    assert it.now(now_s + FORGOTTEN_S - 1) == {A: Avoided(now_s, "answered 404")}
    assert it.now(now_s + FORGOTTEN_S) == {}
    assert pauses == [1, 2, 4, 8, 16, 32, LONGEST_S, LONGEST_S, LONGEST_S]
    assert it.add(A, "answered 404", now_s, now_s + FORGOTTEN_S + 1) == FIRST_S


def test_those_that_were_on_their_way_count_once():
    it = Avoidance()
    assert [it.add(A, "answered 404", 99.0, 100.0 + 0.1 * turn) for turn in range(4)] == [FIRST_S, 0, 0, 0]
    assert it.now(100.5)[A].until_s == 101.0


def test_who_refuses_what_was_sent_meanwhile_is_passed_over_anew_and_for_no_longer():
    it = Avoidance()
    it.add(A, "answered 404", 99.0, 100.0)
    assert (it.add(A, "answered 404", 100.2, 100.4), it.now(100.5)[A].until_s) == (0, 101.4)
    assert (it.add(A, "answered 404", 101.4, 101.5), it.now(101.5)[A].until_s) == (2, 103.5)


def test_who_serves_what_came_since_is_not_passed_over():
    it = Avoidance()
    for model in (A, B, ANY_MODEL):
        it.add(model, "why", 99.0, 100.0)
    assert not it.served(A, 99.0)
    assert (it.served(A, 100.5), set(it.now(100.6))) == (True, {B})
    assert (it.lift(B), it.lift(B), it.now(100.6)) == (True, False, {})
