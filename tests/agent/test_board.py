from dataclasses import replace
from math import exp, inf

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from spoe_agent.agent.account import FRESH_S, GOING_S, LOADING_LIFETIME_S, MAX_STRUCK, MEAN_WINDOW_S
from spoe_agent.agent.board import GRANT_LIFETIME_S, Board
from spoe_agent.agent.counted import BEYOND_LIFETIME_S, SETTLE_S
from spoe_agent.agent.grant import Grant
from spoe_agent.routing import Health, InstanceLoad, InstanceState, LoadedModel, Tier
from spoe_agent.routing.names import canonical
from spoe_agent.routing.snapshot import GpuGroup, Learned

A, B, C, CLOUD = (canonical(name) for name in ("a", "b", "c", "c:cloud"))


def reading(*loaded, at_s=0.0):
    return InstanceState(Health.UP, {model: LoadedModel(1, 1) for model in loaded}, at_s)


def counts(connections, queued=0):
    return {"g0": InstanceLoad(connections, queued, is_up=True)}


def board(*grants, loaded=(A, B)):
    """A board with one instance's readings, and with grants of (id, model, second)."""
    it = Board()
    it.publish("g0", reading(*loaded))
    for request_id, model, at_s in grants:
        grant(it, request_id, "g0", model, at_s)
    return it


def grant(it, request_id, instance, model, at_s, victims=()):
    it.grant(Grant(request_id, instance, model, at_s), victims)


def reconciled(it, loads, now_s, process=""):
    """What is known for a question that came with these counts."""
    it.reconcile(loads, process, now_s)
    return it.snapshot(loads, now_s, process=process)


def in_flight(it, loads, now_s):
    return dict(reconciled(it, loads, now_s).active("g0").in_flight)


def loading(it, now_s=1000.0):
    return dict(it.snapshot({}, now_s).active("g0").loading)


def test_an_empty_board():
    snapshot = Board().snapshot({}, 7.0)
    assert (snapshot.at_s, snapshot.instances, snapshot.activity) == (7.0, {}, {})


def test_readings_are_given_out_as_they_came():
    it, state = Board(), reading(A)
    it.publish("g0", state)
    assert it.snapshot({}, 0.0).state("g0") is state


def test_a_snapshot_does_not_change_afterwards():
    it = board(("1", A, 0.0))
    before = it.snapshot({}, 0.0)
    grant(it, "2", "g0", B, 0.0)
    it.publish("g1", reading())
    it.end("1")
    assert before.active("g0").in_flight == {A: 1}
    assert "g1" not in before.instances


def test_grants_are_counted_per_model_and_instance():
    it = board(("1", A, 0.0), ("2", A, 0.0), ("3", B, 0.0))
    grant(it, "4", "g1", A, 0.0)
    snapshot = it.snapshot({}, 0.0)
    assert snapshot.active("g0").in_flight == {A: 2, B: 1}
    assert snapshot.active("g1").in_flight == {A: 1}
    assert it.grants == 4


def test_a_log_line_ends_its_request_once():
    it = board(("1", A, 0.0), ("2", A, 0.0))
    for _ in range(2):
        it.end("1")
        assert in_flight(it, {}, 0.0) == {A: 1}
    it.end("somebody else's")
    assert it.grants == 1
    it.end("2")
    assert (in_flight(it, {}, 0.0), it.grants) == ({}, 0)


def test_a_grant_is_found_until_its_line_comes():
    it = board(("1", A, 0.0))
    reconciled(it, counts(0), SETTLE_S + 1)  # struck off: its line may have been lost
    for found in (Grant("1", "g0", A, 0.0), None):
        assert it.find("1") == it.end("1") == found


def test_the_end_of_a_request_tells_what_was_granted():
    it, one = Board(), Grant("1", "g0", A, 3.0, Tier.EVICT)
    it.grant(one)
    assert it.end("1") is one
    assert it.end("1") is None


@pytest.mark.parametrize("counted", [0, 1, 9])
def test_looking_changes_nothing(counted):
    """Whatever counts are looked at, and however long: only `reconcile` holds grants against them."""
    it = board(("1", A, 0.0), ("2", A, 0.0))
    reconciled(it, counts(2), 0.5)
    before = it.version, it.activity("g0"), it.ledgers()
    for now_s in (1.0, 10.0, 20.0):
        assert it.snapshot(counts(counted), now_s).active("g0").in_flight == {A: 2}
    assert (it.version, it.activity("g0"), it.ledgers()) == before


def test_every_event_counts_and_looking_is_none():
    it, seen = Board(), []
    for happens in (
        lambda: it.publish("g0", reading()),
        lambda: grant(it, "1", "g0", A, 0.0),
        lambda: it.end("1"),
        lambda: reconciled(it, counts(0), 9.0),
    ):
        happens()
        seen.append(it.version)
    assert seen == sorted(seen)
    assert len(set(seen)) == 3
    assert seen[-1] == seen[-2]


def test_striking_off_a_lost_request_is_an_event():
    """Whoever is held may have the slot that nobody knew to be free."""
    it = board(("1", A, 0.0))
    before = it.version
    reconciled(it, counts(0), 10.0)
    assert it.version > before


def test_what_others_know_is_passed_on():
    learned = Learned({(A, "g0"): 1.0})
    snapshot = Board().snapshot({}, 0.0, learned, waiting=3, home="g1")
    assert (snapshot.learned, snapshot.waiting, snapshot.home) == (learned, 3, "g1")


def test_a_request_that_is_decided_again_is_one_request():
    it = board(("1", A, 0.0))
    grant(it, "1", "g1", B, 1.0)
    snapshot = it.snapshot({}, 1.0)
    assert not snapshot.active("g0").in_flight
    assert snapshot.active("g1").in_flight == {B: 1}
    assert it.grants == 1


UNSEEN = [
    # age of each grant, HAProxy's connections and queue -> fresh grants that it does not show
    ([], (0, 0), 0),
    ([0.0], (0, 0), 1),
    ([0.0], (1, 0), 0),
    ([0.0], (0, 1), 0),
    ([FRESH_S], (0, 0), 1),
    ([FRESH_S + 0.01], (0, 0), 0),
    ([1.0, 0.0, 0.0], (1, 0), 2),
    ([1.0, 1.0, 0.0], (1, 0), 1),  # one of the older ones is late, but only one is fresh
    ([1.0, 0.0, 0.0], (2, 0), 1),  # it shows one of the two
    ([0.0, 0.0], (9, 0), 0),
]


def test_grants_too_fresh_for_haproxys_counts():
    for ages_s, (connections, queued), expected in UNSEEN:
        it = board(*((str(i), A, 10.0 - age_s) for i, age_s in enumerate(ages_s)))
        unseen = reconciled(it, counts(connections, queued), 10.0).active("g0").unseen
        assert unseen == expected, (ages_s, connections, queued)


def test_without_haproxys_counts_nothing_is_unseen_and_nothing_struck():
    it = board(("1", A, 0.0), ("2", A, 99.9))
    activity = it.snapshot({}, 100.0).active("g0")
    assert (activity.in_flight, activity.unseen) == ({A: 2}, 0)


def test_lost_log_lines_are_found_at_once_when_haproxy_counts_nobody():
    it = board(("1", A, 0.0), ("2", B, 8.5))
    assert in_flight(it, counts(0), 10.0) == {B: 1}  # too young to be given up
    assert in_flight(it, counts(0), 8.5 + SETTLE_S + 0.1) == {}
    assert it.grants == 0


def test_lost_log_lines_are_found_when_haproxy_counts_fewer_for_a_while():
    it = board(("1", A, 0.0), ("2", A, 0.0), ("3", B, 0.0))
    assert in_flight(it, counts(1), 10.0) == {A: 2, B: 1}
    assert in_flight(it, counts(1), 10.0 + SETTLE_S) == {A: 2, B: 1}
    assert in_flight(it, counts(1), 10.1 + SETTLE_S) == {B: 1}


def test_only_what_was_always_beyond_the_counts_is_struck():
    it = board(("1", A, 0.0), ("2", A, 0.0), ("3", A, 0.0))
    in_flight(it, counts(1), 10.0)
    in_flight(it, counts(2), 11.0)
    assert in_flight(it, counts(1), 12.1) == {A: 2}
    in_flight(it, counts(1), 13.0)
    assert in_flight(it, counts(1), 15.1) == {A: 1}


def test_a_count_that_is_right_in_between_starts_the_watch_anew():
    it = board(("1", A, 0.0), ("2", A, 0.0))
    in_flight(it, counts(1), 10.0)
    in_flight(it, counts(2), 11.0)
    in_flight(it, counts(1), 12.5)
    assert in_flight(it, counts(1), 13.5) == {A: 2}


def test_counts_that_overtake_a_log_line_strike_nobody():
    """B ended; HAProxy's counts, in a request, come before B's log line: A is older, but lives."""
    it = board(("1", A, 0.0), ("2", B, 0.0))
    assert in_flight(it, counts(1), 10.0) == {A: 1, B: 1}
    it.end("2")
    for now_s in (10.1, 20.0, 30.0):
        assert in_flight(it, counts(1), now_s) == {A: 1}


def test_fresh_grants_that_haproxy_partly_shows_are_no_surplus():
    it = board(("old", A, 0.0))
    for now_s in (10.0, 11.0, 12.5, 14.0):
        grant(it, "1", "g0", B, now_s)
        grant(it, "2", "g0", B, now_s)
        assert in_flight(it, counts(2), now_s) == {A: 1, B: 2}


def struck_in_vain():
    """A lives on g0; B was meant for it, but HAProxy sent it on, so A, the older, was taken for lost."""
    it = board(("1", A, 0.0), ("2", B, 0.0))
    in_flight(it, counts(1), 10.0)
    assert in_flight(it, counts(1), 10.1 + SETTLE_S) == {B: 1}
    return it


def test_a_grant_that_was_struck_off_in_vain_comes_back():
    it = struck_in_vain()
    assert it.end("2").model == B
    assert in_flight(it, counts(1), 20.0) == {}
    assert in_flight(it, counts(1), 20.0 + SETTLE_S) == {}
    before = it.version
    assert in_flight(it, counts(1), 20.1 + SETTLE_S) == {A: 1}
    assert (it.grants, it.version > before) == (1, True)
    assert it.end("1").model == A
    assert (in_flight(it, counts(0), 30.0), it.grants) == ({}, 0)


def test_it_comes_back_as_the_oldest():
    it = struck_in_vain()
    it.end("2")
    grant(it, "3", "g0", B, 20.0)
    in_flight(it, counts(2), 21.0)
    in_flight(it, counts(2), 21.1 + SETTLE_S)
    assert [one.request_id for one in it.granted("g0")] == ["1", "3"]


def test_a_shortage_that_passes_brings_nobody_back():
    it = struck_in_vain()
    it.end("2")
    in_flight(it, counts(1), 20.0)
    in_flight(it, counts(0), 21.0)
    assert in_flight(it, counts(1), 20.1 + SETTLE_S) == {}


def test_connections_that_were_never_granted_bring_nobody_back():
    it = board(("1", A, 0.0))
    for now_s in (10.0, 20.0, 30.0):
        assert in_flight(it, counts(5), now_s) == {A: 1}


def test_no_more_come_back_than_were_struck_off():
    it = struck_in_vain()
    it.end("2")
    for now_s in (20.0, 30.0, 40.0, 50.0):
        found = in_flight(it, counts(7), now_s)
    assert found == {A: 1}


def test_the_line_of_a_grant_that_was_struck_off_tells_of_it_once():
    it = struck_in_vain()
    assert it.end("1").model == A
    assert it.end("1") is None
    it.end("2")
    for now_s in (20.0, 30.0, 40.0):
        assert in_flight(it, counts(1), now_s) == {}


def test_only_so_many_that_were_struck_off_are_remembered():
    it = board(*((str(number), A, 0.0) for number in range(MAX_STRUCK + 5)))
    assert in_flight(it, counts(0), SETTLE_S + 1) == {}
    assert it.grants == 0
    in_flight(it, counts(MAX_STRUCK + 5), 10.0)
    assert in_flight(it, counts(MAX_STRUCK + 5), 10.1 + SETTLE_S) == {A: MAX_STRUCK}


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


def loaded(it, now_s=1000.0):
    return set(it.snapshot({}, now_s).state("g0").loaded)


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


def test_when_the_latest_in_flight_was_granted():
    it = board(("1", A, 1.0), ("2", B, 2.0))
    for ended, granted_at_s in ((None, 2.0), ("2", 1.0), ("1", -inf)):
        it.end(ended or "nobody")
        assert it.snapshot({}, 3.0).active("g0").granted_at_s == granted_at_s


def test_the_last_readings_of_one_instance():
    it, state = Board(), reading(A)
    it.publish("g0", state)
    assert it.state("g0") is state
    assert it.state("g9").health is Health.UNKNOWN


def test_gpus_are_passed_on_and_news_of_them_is_an_event():
    it, group = Board(), GpuGroup(free_bytes=1)
    before = it.version
    it.publish_gpus({"g0": group})
    assert it.version > before
    assert it.snapshot({}, 0.0).gpu("g0") is group


TWO = ("1-a", "2-b")


def asked(it, request_id, process, at_s=0.0, instance="g0"):
    it.grant(Grant(request_id, instance, A, at_s, process=process))


def seen(it, process, connections, now_s):
    """What the board shows of g0 to a process that counts so many connections there."""
    return reconciled(it, counts(connections), now_s, process).active("g0")


def test_a_processs_counts_say_nothing_of_anothers_grants():
    """After a reload the new process counts nobody, while the old one goes on with its streams."""
    it = board()
    for number in range(4):
        asked(it, str(number), "1-a")
    for now_s in (1.0, SETTLE_S + 1, 60.0):
        new = seen(it, "2-b", 0, now_s)
        assert (new.in_flight, new.unseen, new.elsewhere) == ({A: 4}, 0, 4)
    old = seen(it, "1-a", 4, 60.0)
    assert (old.unseen, old.elsewhere) == (0, 0)


def test_processes_are_added_up_and_each_is_held_against_its_own_count():
    it = board()
    for number, process in enumerate((*TWO, *TWO)):
        asked(it, str(number), process)
    # The first lost a line: it counts one of its two for a while. The other's two stay.
    for now_s in (1.0, 2.0 + SETTLE_S):
        seen(it, "1-a", 1, now_s)
    both = seen(it, "2-b", 2, 3.0 + SETTLE_S)
    assert (both.in_flight, both.elsewhere, it.by_process("g0")) == ({A: 3}, 1, {"1-a": 1, "2-b": 2})
    it.end("1")
    it.end("3")
    assert it.by_process("g0") == {"1-a": 1}


def test_fresh_grants_are_unseen_by_the_process_that_asked():
    it = board()
    asked(it, "1", "1-a", 1.0)
    asked(it, "2", "2-b", 1.0)
    activity = seen(it, "1-a", 0, 1.0)
    assert (activity.unseen, activity.elsewhere) == (1, 1)


def test_what_was_struck_off_in_vain_comes_back_to_its_own_process():
    it = board()
    asked(it, "1", "1-a")
    seen(it, "1-a", 0, SETTLE_S + 1)
    assert it.grants == 0
    for now_s in (10.0, 11.0 + SETTLE_S):
        seen(it, "2-b", 1, now_s)
    assert it.grants == 0
    for now_s in (20.0, 21.0 + SETTLE_S):
        seen(it, "1-a", 1, now_s)
    assert it.by_process("g0") == {"1-a": 1}


def test_another_processs_connections_that_are_no_grants_count_for_a_while():
    """From before the agent's restart, or sent by HAProxy alone."""
    it = board(("0", A, 0.0))
    asked(it, "1", "1-a")
    seen(it, "1-a", 3, 1.0)
    assert seen(it, "2-b", 0, 1.0).elsewhere == 1 + 1 + 2
    assert seen(it, "2-b", 0, 1.5 + BEYOND_LIFETIME_S).elsewhere == 1 + 1


def test_a_process_that_has_ended_holds_no_slots():
    it = board()
    for number, process in enumerate((*TWO, *TWO)):
        asked(it, str(number), process, instance=f"g{number // 2}")
    before = it.version
    it.forget("1-a")
    assert (it.grants, it.by_process("g0"), it.by_process("g1")) == (2, {"2-b": 1}, {"2-b": 1})
    assert it.version > before
    assert it.find("0") is not None  # its line may still be read
    it.forget("nobody")
    assert it.by_process("nowhere") == {}


class Traffic(RuleBasedStateMachine):
    """Two HAProxy processes with two servers; log lines arrive, get lost, or are overtaken by the next request's
    counts; a process may end with what it has.
    """

    @initialize()
    def start(self):
        self.board = Board()
        self.live = {}
        self.now_s = 1000.0
        self.number = 0

    def loads(self, process):
        where = [instance for instance, asker in self.live.values() if asker == process]
        return {name: InstanceLoad(where.count(name), 0, is_up=True) for name in ("g0", "g1")}

    def look(self, process):
        return reconciled(self.board, self.loads(process), self.now_s, process)

    @rule(
        instance=st.sampled_from(["g0", "g1"]),
        model=st.sampled_from([A, B]),
        process=st.sampled_from(TWO),
        is_counted=st.booleans(),
    )
    def request(self, instance, model, process, is_counted):
        self.look(process)
        self.number += 1
        self.board.grant(Grant(str(self.number), instance, model, self.now_s, process=process))
        if not is_counted:
            self.look(process)  # another request came before HAProxy acted on the answer
        self.live[str(self.number)] = (instance, process)

    @precondition(lambda self: self.live)
    @rule(data=st.data(), fate=st.sampled_from(["arrives", "lost", "overtaken"]))
    def response(self, data, fate):
        request_id = data.draw(st.sampled_from(sorted(self.live)))
        _, process = self.live.pop(request_id)
        if fate == "overtaken":
            self.look(process)
        if fate != "lost":
            self.board.end(request_id)
            self.look(process)

    @rule(pause_s=st.sampled_from([0.01, FRESH_S, 1.0, SETTLE_S, 60.0]))
    def time_goes_by(self, pause_s):
        self.now_s += pause_s

    @rule(process=st.sampled_from(TWO))
    def process_ends(self, process):
        self.live = {name: of for name, of in self.live.items() if of[1] != process}
        self.board.forget(process)

    @rule()
    def all_settles(self):
        """Three requests of each, each a while after the other, and the account is HAProxy's."""
        for _ in range(3):
            self.now_s += SETTLE_S + 1
            for process in TWO:
                snapshot = self.look(process)
        own, other = self.loads(TWO[1]), self.loads(TWO[0])
        for name in ("g0", "g1"):
            activity = snapshot.active(name)
            assert sum(activity.in_flight.values()) == own[name].connections + other[name].connections
            assert (activity.unseen, activity.elsewhere) == (0, other[name].connections)
        assert self.board.grants == len(self.live)

    @invariant()
    def nothing_is_negative_or_missing(self):
        if not hasattr(self, "board"):
            return
        for process in TWO:
            counted = self.loads(process)
            for name, activity in self.look(process).activity.items():
                assert all(number > 0 for number in activity.in_flight.values())
                assert 0 <= activity.unseen <= sum(activity.in_flight.values())
                assert self.board.by_process(name).get(process, 0) >= counted[name].connections


TestTraffic = Traffic.TestCase
TestTraffic.settings = settings(deadline=None, max_examples=100, stateful_step_count=30)


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["grant", "end"]), st.integers(0, 5), st.floats(0, 5)), max_size=40))
def test_without_losses_the_account_is_exact_per_model(steps):
    it, live, now_s = board(), {}, 0.0
    for what, number, pause_s in steps:
        now_s += pause_s
        if what == "grant":
            grant(it, str(number), "g0", (A, B)[number % 2], now_s)
            live[number] = (A, B)[number % 2]
        else:
            it.end(str(number))
            live.pop(number, None)
        models = list(live.values())
        assume(now_s < GRANT_LIFETIME_S)
        assert in_flight(it, counts(len(live)), now_s) == {model: models.count(model) for model in set(models)}
