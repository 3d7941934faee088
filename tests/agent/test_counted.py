"""HAProxy's counts against what was granted: what they prove gone, and what alive."""

from spoe_agent.agent.account import FRESH_S, MAX_STRUCK
from spoe_agent.agent.counted import BEYOND_LIFETIME_S, SETTLE_S
from tests.agent.boards import TWO, A, B, asked, board, counts, grant, in_flight, reconciled, seen

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


def test_what_counts_do_not_show_is_of_the_account_as_it_is():
    it = board(("1", A, 10.0))
    assert it.snapshot(counts(0), 10.0).active("g0").unseen == 1
    grant(it, "2", "g0", B, 10.05)
    assert it.activity("g0").in_flight == {A: 1, B: 1}
    activity = it.snapshot(counts(1), 10.05).active("g0")
    assert (activity.unseen, activity.in_flight) == (1, {A: 1, B: 1})


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
