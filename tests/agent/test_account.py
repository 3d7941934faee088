"""What one instance is doing: loads, models that must go, how busy it was."""

from dataclasses import replace
from math import exp

import pytest

from spoe_agent.agent.account import FRESH_S, GOING_S, LOADING_LIFETIME_S, MEAN_WINDOW_S
from spoe_agent.agent.board import GRANT_LIFETIME_S, Board
from spoe_agent.agent.grant import Grant
from spoe_agent.routing import Health, InstanceState, LoadedModel, Tier
from tests.agent.boards import CLOUD, A, B, C, board, counts, grant, in_flight, loaded, reading, reconciled


def loading(it, now_s=1000.0):
    return dict(it.snapshot({}, now_s).active("g0").loading)


def test_no_grant_is_believed_in_for_ever():
    it = board(("1", A, 0.0), ("2", A, 1.0))
    for read_at_s, expected in (
        (GRANT_LIFETIME_S, {A: 2}),
        (GRANT_LIFETIME_S + 0.5, {A: 1}),
        (GRANT_LIFETIME_S + 2, {}),
    ):
        it.publish("g0", reading(A, at_s=read_at_s))
        assert in_flight(it, {}, read_at_s) == expected


def test_a_grant_for_a_model_that_is_not_loaded_starts_a_load():
    it = board(("1", A, 1.0), ("2", B, 2.0), ("3", B, 3.0), ("4", CLOUD, 4.0), loaded=(A,))
    assert loading(it) == {B: 2.0}
    grant(it, "5", "g1", A, 5.0)  # never heard of
    assert it.snapshot({}, 5.0).active("g1").loading == {A: 5.0}


def leaving(it):
    return set(it.activity("g0").leaving)


def test_victims_take_no_more_requests_until_they_are_seen_to_go_or_stay():
    it = board(loaded=(A, B))
    grant(it, "1", "g0", C, 1.0, victims=(A, B))
    assert (leaving(it), loading(it)) == ({A, B}, {C: 1.0})
    it.publish("g0", reading(A, B, at_s=1.5))  # not gone yet
    assert leaving(it) == {A, B}
    it.publish("g0", reading(B, at_s=2.0))
    assert (leaving(it), loading(it)) == ({B}, {C: 1.0})
    it.publish("g0", reading(B, C, at_s=3.0))  # there was room beside B after all
    assert (leaving(it), loading(it)) == (set(), {})


def test_victims_of_a_request_that_was_withdrawn_stay():
    it = board(loaded=(A,))
    grant(it, "1", "g0", C, 1.0, victims=(A,))
    it.end("1")
    it.publish("g0", reading(A, at_s=1.1 + FRESH_S))
    assert (leaving(it), loading(it)) == (set(), {})


def test_who_must_go_and_is_asked_for_again_loads_again():
    it = board(loaded=(A,))
    grant(it, "1", "g0", C, 1.0, victims=(A,))
    grant(it, "2", "g0", A, 2.0, victims=(C,))
    assert (leaving(it), loading(it)) == ({C}, {C: 1.0, A: 2.0})


def options(it):
    return dict(it.snapshot({}, 1000.0).active("g0").options)


def test_with_what_else_models_were_loaded():
    it = board(loaded=(A,))
    it.grant(Grant("1", "g0", B, 1.0, Tier.ROOM, options="num_gpu=0"))
    it.grant(Grant("2", "g0", A, 1.0, Tier.LOADED))
    assert options(it) == {B: "num_gpu=0"}
    it.publish("g0", reading(A, B, at_s=2.0))
    assert options(it) == {B: "num_gpu=0"}
    it.grant(Grant("3", "g0", A, 3.0, Tier.RELOAD, options="num_batch=128"))
    it.grant(Grant("4", "g0", B, 3.0, Tier.RELOAD))
    it.publish("g0", reading(A, B, at_s=4.0))
    assert options(it) == {A: "num_batch=128"}
    heir = Board()
    heir.take(it.ledgers(), 5.0)
    assert options(heir) == {A: "num_batch=128"}
    heir.publish("g0", reading(A, B, at_s=6.0))
    for request_id in ("2", "3"):
        heir.end(request_id)
    heir.publish("g0", reading(B, at_s=7.0))
    assert options(heir) == {}


def test_what_a_client_unloads_is_gone_at_once_whatever_lists_show_for_a_moment():
    it = board()
    it.unload("g0", A, 10.0)
    assert loaded(it) == {B}
    for at_s, still in ((10.0, {B}), (10.0 + GOING_S, {B}), (10.1 + GOING_S, {A, B})):
        it.publish("g0", reading(A, B, at_s=at_s))
        assert loaded(it) == still


def test_what_is_asked_for_after_that_loads():
    it = board()
    it.unload("g0", A, 10.0)
    grant(it, "1", "g0", A, 10.1)
    assert loading(it) == {A: 10.1}
    it.publish("g0", reading(A, B, at_s=10.2))
    assert (loading(it), loaded(it)) == ({}, {A, B})


def test_what_was_loaded_just_now_is_unloaded_too():
    it = board(("1", C, 9.0))
    it.served(it.find("1"), 9.5)
    it.end("1")
    it.unload("g0", C, 10.0)
    assert loading(it) == {}


def test_what_is_busy_stays_until_it_is_idle():
    it = board(("1", A, 9.0))
    it.unload("g0", A, 10.0)
    assert loaded(it) == {A, B}


def test_unloading_where_nobody_was_heard_of():
    it = Board()
    it.unload("g0", A, 10.0)
    assert loaded(it) == set()


def test_a_place_is_emptied_for_a_model_until_it_is_granted_or_given_up():
    it = board(("1", A, 0.0), loaded=(A, B))
    before = it.version
    it.reserve("g0", C, (A,))
    assert (it.activity("g0").reserved, leaving(it)) == (C, {A})
    assert it.version > before
    it.publish("g0", reading(A, B, at_s=1.0))
    assert (it.activity("g0").reserved, leaving(it)) == (C, {A})
    it.unreserve("g0")
    assert (it.activity("g0").reserved, leaving(it)) == ("", set())


def at_context(tokens, at_s):
    return InstanceState(Health.UP, {A: LoadedModel(1, 1, tokens)}, at_s)


def test_a_load_with_another_context_is_over_when_ps_shows_that():
    it = Board()
    it.publish("g0", at_context(4096, 0.0))
    it.grant(Grant("1", "g0", A, 1.0, Tier.RELOAD, 8192))
    assert it.activity("g0").contexts == {A: 8192}
    it.publish("g0", at_context(4096, 2.0))  # the old one, still
    assert loading(it) == {A: 1.0}
    it.publish("g0", at_context(8192, 3.0))
    assert (loading(it), it.activity("g0").contexts) == ({}, {})


def test_a_load_is_over_too_once_requests_were_answered():
    """More context than the model was trained for is cut: nothing loads, and `/api/ps` shows what it did before."""
    it = Board()
    it.publish("g0", at_context(4096, 0.0))
    grant(it, "0", "g0", A, 0.5)
    asked = Grant("1", "g0", A, 1.0, Tier.RELOAD, 8192)
    it.grant(asked)
    it.served(Grant("0", "g0", A, 0.5, Tier.LOADED), 2.0)  # from before the load
    it.publish("g0", at_context(4096, 3.0))
    assert loading(it) == {A: 1.0}
    it.served(asked, 4.0)
    it.publish("g0", at_context(4096, 3.9))
    assert loading(it) == {A: 1.0}
    it.publish("g0", at_context(4096, 5.0))
    assert (loading(it), it.activity("g0").contexts) == ({}, {})


def test_a_load_is_known_to_be_done_as_soon_as_it_is_answered_for():
    it = Board()
    it.publish("g0", reading(at_s=0.0))
    first = Grant("1", "g0", A, 1.0, Tier.ROOM)
    it.grant(first)
    assert it.activity("g0").unfinished == {A: 1.0}
    it.served(first, 2.0)
    assert it.activity("g0").unfinished == {}
    assert (loading(it), it.activity("g0").answered) == ({A: 1.0}, {A: 2.0})
    it.publish("g0", reading(A, at_s=3.0))
    assert (loading(it), it.activity("g0").answered) == ({}, {})


def test_a_load_that_follows_one_that_was_answered_for_is_a_load_of_its_own():
    """Although no reading has shown the first."""
    it = Board()
    it.publish("g0", reading(at_s=0.0))
    first = Grant("1", "g0", A, 1.0, Tier.ROOM)
    it.grant(first)
    it.served(first, 3.0)
    it.grant(Grant("2", "g0", A, 3.2, Tier.RELOAD, 8192))
    activity = it.activity("g0")
    assert (activity.unfinished, activity.contexts, activity.answered) == ({A: 3.2}, {A: 8192}, {})


@pytest.mark.parametrize(
    ("listed", "in_flight", "unfinished"),
    [
        pytest.param((A,), True, {}, id="it is loaded"),
        pytest.param((), True, {A: 2.0}, id="it was unloaded (keep_alive 0), and others still want it"),
        pytest.param((), False, {}, id="it was unloaded, and nobody wants it"),
    ],
)
def test_readings_judge_what_an_answer_told_of_a_load(listed, in_flight, unfinished):
    it = Board()
    it.publish("g0", reading(at_s=0.0))
    for number in ("1", "2"):
        it.grant(Grant(number, "g0", A, 1.0, Tier.ROOM))
    it.end("1")
    it.served(Grant("1", "g0", A, 1.0, Tier.ROOM), 2.0)
    if not in_flight:
        it.end("2")
    it.publish("g0", reading(at_s=1.9))  # asked for before the answer
    assert (loading(it), it.activity("g0").unfinished) == ({A: 1.0}, {})
    it.publish("g0", reading(*listed, at_s=3.0))
    assert it.activity("g0").unfinished == unfinished


def test_a_load_back_to_what_it_was_is_over_when_ps_shows_that():
    """Two reloads between two readings: `/api/ps` goes on showing what the second one ends with."""
    it = Board()
    it.publish("g0", at_context(4096, 0.0))
    first = Grant("1", "g0", A, 1.0, Tier.RELOAD, 8192)
    it.grant(first)
    it.served(first, 1.2)
    it.grant(Grant("2", "g0", A, 1.3, Tier.RELOAD, 4096))
    assert loading(it) == {A: 1.3}
    it.publish("g0", at_context(8192, 1.4))
    assert loading(it) == {A: 1.3}
    it.publish("g0", at_context(4096, 2.0))
    assert loading(it) == {}


def test_whoever_asks_for_no_context_loads_with_the_instances_own():
    it = Board()
    it.publish("g0", at_context(4096, 0.0))
    asked = Grant("1", "g0", A, 1.0, Tier.RELOAD, 8192)
    it.grant(asked)
    it.served(asked, 2.0)
    it.grant(Grant("2", "g0", A, 3.0, Tier.RELOAD))
    assert (loading(it), it.activity("g0").contexts) == ({A: 3.0}, {}), "a load of its own"


def trained(it):
    return dict(it.snapshot({}, 0.0).trained)


def test_whoever_got_less_context_than_asked_for_tells_what_the_model_can_do():
    it = Board()
    it.publish("g0", at_context(4096, 0.0))
    asked = Grant("1", "g0", A, 1.0, Tier.RELOAD, 200_000)
    it.grant(asked)
    it.end("1")
    it.served(asked, 2.0)
    it.publish("g0", at_context(32768, 1.9))  # from before its end
    assert trained(it) == {}
    it.grant(asked)
    it.end("1")
    it.served(asked, 3.0)
    it.publish("g0", at_context(32768, 3.1))
    assert trained(it) == {A: 32768}
    it.publish("g0", at_context(65536, 4.0))  # pulled anew
    assert trained(it) == {}


def test_the_list_tells_what_models_can_do_before_anybody_asks():
    it = Board()
    it.publish("g0", replace(at_context(4096, 0.0), trained={A: 8192, B: 2048}))
    assert trained(it) == {A: 8192, B: 2048}
    it.publish("g1", at_context(16384, 0.0))  # an older Ollama, which has another file by that name
    assert trained(it) == {B: 2048}


def test_a_request_after_it_makes_that_uncertain():
    it = Board()
    it.publish("g0", at_context(4096, 0.0))
    asked = Grant("1", "g0", A, 1.0, Tier.RELOAD, 8192)
    it.grant(asked)
    it.end("1")
    it.served(asked, 2.0)
    it.grant(Grant("2", "g0", A, 2.1, Tier.RELOAD, 4096))
    it.publish("g0", at_context(4096, 3.0))
    assert trained(it) == {}


def test_whoever_asked_for_no_context_tells_nothing_of_it():
    it = Board()
    it.publish("g0", at_context(4096, 0.0))
    it.grant(Grant("1", "g0", A, 1.0, Tier.LOADED))
    it.served(Grant("1", "g0", A, 1.0, Tier.LOADED), 2.0)
    it.publish("g0", at_context(4096, 3.0))
    assert trained(it) == {}


def test_victims_on_an_instance_nobody_heard_of():
    it = Board()
    grant(it, "1", "g0", A, 1.0, victims=(B,))
    assert loading(it) == {A: 1.0}
    assert not it.snapshot({}, 1.0).instances


def test_a_load_is_over_when_ps_lists_it():
    it = board(("1", A, 1.0), loaded=())
    it.publish("g0", reading(A, at_s=0.9))  # asked before the grant: says nothing of this load
    assert loading(it) == {A: 1.0}
    it.publish("g0", reading(at_s=5.0))  # not listed until it is done
    assert loading(it) == {A: 1.0}
    it.publish("g0", reading(A, at_s=6.0))
    assert loading(it) == {}


def test_a_load_that_nobody_waits_for_is_given_up():
    it = board(("1", A, 1.0), loaded=())
    it.end("1")
    it.publish("g0", reading(at_s=1.0 + FRESH_S))
    assert loading(it) == {A: 1.0}
    it.publish("g0", reading(at_s=1.1 + FRESH_S))
    assert loading(it) == {}


def test_no_load_is_believed_in_for_ever():
    it = board(("1", A, 1.0), loaded=())
    it.publish("g0", reading(at_s=1.0 + LOADING_LIFETIME_S))
    assert loading(it) == {A: 1.0}
    it.publish("g0", reading(at_s=1.1 + LOADING_LIFETIME_S))
    assert loading(it) == {}


def test_readings_that_never_succeeded_end_no_load():
    it = board(("1", A, 1.0), loaded=())
    it.publish("g0", InstanceState())
    assert loading(it) == {A: 1.0}


def test_how_busy_an_instance_was():
    """The mean follows the number of grants, by readings, within a minute or so."""
    it = Board()
    grant(it, "1", "g0", A, 0.0)
    grant(it, "2", "g0", A, 0.0)

    def mean(now_s):
        it.publish("g0", reading(A, at_s=now_s))
        return reconciled(it, counts(2), now_s).active("g0").mean_in_flight

    # How long it has been so when the first reading comes, nobody knows.
    began_s = 1000.0
    assert [mean(began_s + second) for second in (0.0, MEAN_WINDOW_S, 10 * MEAN_WINDOW_S)] == [
        pytest.approx(0.0),
        pytest.approx(2 * (1 - exp(-1))),
        pytest.approx(2.0, rel=0.001),
    ]
    it.end("1")
    it.end("2")
    assert mean(began_s + 20 * MEAN_WINDOW_S) == pytest.approx(0.0, abs=0.001)


def test_a_reading_older_than_the_last_moves_no_mean():
    it = board(("1", A, 0.0))
    it.publish("g0", reading(A, at_s=10.0))
    it.publish("g0", reading(A, at_s=100.0))
    before = it.snapshot({}, 100.0).active("g0").mean_in_flight
    it.publish("g0", reading(A, at_s=50.0))
    assert it.snapshot({}, 100.0).active("g0").mean_in_flight == before


def test_the_mean_is_there_beside_grants_too_fresh_to_be_counted():
    it = board(("1", A, 0.0))
    it.publish("g0", reading(A, at_s=9.0))
    it.publish("g0", reading(A, at_s=10.0))
    grant(it, "2", "g0", A, 11.0)
    activity = reconciled(it, counts(1), 11.0).active("g0")
    assert (activity.unseen, activity.mean_in_flight > 0) == (1, True)


def test_what_was_granted_is_told_oldest_first():
    it = board(("1", A, 0.0), ("2", B, 1.0))
    grant(it, "3", "g1", A, 2.0)
    assert it.granted("g0") == (Grant("1", "g0", A, 0.0), Grant("2", "g0", B, 1.0))
    assert it.granted("g9") == ()
