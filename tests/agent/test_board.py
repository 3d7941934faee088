from math import inf

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from spoe_agent.agent.account import FRESH_S
from spoe_agent.agent.board import GRANT_LIFETIME_S, Board
from spoe_agent.agent.counted import SETTLE_S
from spoe_agent.agent.grant import Grant
from spoe_agent.routing import Health, InstanceLoad, Tier
from spoe_agent.routing.snapshot import GpuGroup, Learned
from tests.agent.boards import TWO, A, B, board, counts, grant, in_flight, reading, reconciled


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


def test_what_is_the_same_is_the_same_object():
    """Decisions go by that: they work out anew what is another object."""
    it = board(("1", A, 10.0))
    one = it.snapshot(counts(0), 10.0)
    again = it.snapshot(counts(0), 10.05)
    assert one.active("g0") is again.active("g0")
    assert one.active("g0").unseen == 1
    it.publish("g0", reading(A, B, at_s=11.0))
    assert it.snapshot(counts(1), 11.0).trained is one.trained
    assert it.snapshot(counts(1), 11.0).own_contexts is one.own_contexts


def test_gpus_are_passed_on_and_news_of_them_is_an_event():
    it, group = Board(), GpuGroup(free_bytes=1)
    before = it.version
    it.publish_gpus({"g0": group})
    assert it.version > before
    assert it.snapshot({}, 0.0).gpu("g0") is group


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

TestTraffic.settings = settings(max_examples=100, stateful_step_count=30)


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
