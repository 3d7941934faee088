"""Slots of a copy, as finished requests show them: stories of one instance, whose requests each stream for 5 s."""

from dataclasses import replace
from itertools import pairwise

from spoe_agent.agent.ending import Ending
from spoe_agent.agent.grant import Grant
from spoe_agent.agent.streams import LONGEST_S, OVERLAP_S, PAUSE_S, TRIED_AFTER, VAIN, Streams
from spoe_agent.routing.choice import Tier

SERVICE_S, FIRST_S = 5.0, 0.3


class Copy:
    """An Ollama's copy of a model with so many slots, and an agent that keeps as many in flight as it tries."""

    def __init__(self, slots, believed, is_streamed=True):
        self.slots, self.is_streamed = slots, is_streamed
        self.streams = Streams(believed)
        self.now_s, self.number = 0.0, 0
        self.granted, self.begun = [], {}

    def fill(self):
        while len(self.granted) < self.streams.tries(self.now_s):
            self.number += 1
            self.granted.append(Grant(f"r{self.number}", "g0", "a", self.now_s + self.number / 1000, Tier.LOADED))

    def serve(self, requests):
        """Let so many requests end, each replaced at once."""
        for _ in range(requests):
            self.fill()
            for grant in self.granted[: self.slots]:
                self.begun.setdefault(grant, max(self.now_s, grant.at_s))
            first = self.granted[0]
            self.now_s = max(self.now_s + 0.01, self.begun[first] + FIRST_S + SERVICE_S)
            first_s = self.begun[first] + FIRST_S - first.at_s
            total_s = self.now_s - first.at_s
            self.granted.remove(first)
            ending = Ending(first_s if self.is_streamed else total_s, total_s, is_whole=True)
            self.streams.ended(first, ending, self.granted, self.now_s)
            self.now_s += 1.0

    @property
    def believed(self):
        return self.streams.believed


def test_slots_beyond_the_file_are_found_one_by_one():
    copy = Copy(slots=4, believed=1)
    copy.serve(TRIED_AFTER)
    assert copy.streams.tries(copy.now_s) == 2
    copy.serve(40)
    assert copy.believed == 4


def test_no_more_is_believed_than_there_is():
    for slots in (1, 2, 4):
        copy = Copy(slots, believed=slots)
        copy.serve(300)
        assert copy.believed == slots


def test_what_waited_in_vain_is_not_tried_again_for_long_and_then_longer():
    copy = Copy(slots=2, believed=2)
    vain = []
    for _ in range(1500):
        before = copy.streams.tries(copy.now_s)
        copy.serve(1)
        if before == 3 and copy.streams.tries(copy.now_s) == 2:
            vain.append(copy.now_s)
    pauses = [later - earlier for earlier, later in pairwise(vain)]
    assert len(pauses) >= 2
    assert all(pause_s >= PAUSE_S * 2**number for number, pause_s in enumerate(pauses))


def test_pauses_have_a_bound():
    streams = Streams(1)
    at_s = 0.0
    for _ in range(TRIED_AFTER + VAIN * 12):
        # Of two that were there together the second began when the first had ended.
        first, second = (Grant(f"{at_s}{number}", "g0", "a", at_s + number, Tier.LOADED) for number in (0, 1))
        streams.ended(first, Ending(0.3, 5.0, True), [second], at_s + 5)
        streams.ended(second, Ending(4.5, 9.0, True), [], at_s + 10)
        assert streams.believed == 1
        at_s += LONGEST_S + 20
    assert streams.tries(at_s) == 2


def test_answers_that_come_all_at_once_prove_nothing():
    copy = Copy(slots=4, believed=1, is_streamed=False)
    copy.serve(60)
    assert copy.streams.tries(copy.now_s) == 1


def test_a_line_that_came_late_is_no_proof():
    """The end of the first seems to be after the beginning of the second, by less than what counts."""
    streams = Streams(1)
    first = Grant("1", "g0", "a", 0.0, Tier.LOADED)
    for round_s in range(0, 200, 10):
        one, two = (replace(first, request_id=f"{round_s}{n}", at_s=float(round_s)) for n in (1, 2))
        streams.ended(one, Ending(0.1, 4.0, True), [two], round_s + 4.0 + OVERLAP_S / 2)
        streams.ended(two, Ending(4.0, 8.0, True), [], round_s + 8.0)
    assert streams.believed == 1


def test_streams_of_different_models_have_slots_of_their_own():
    streams = Streams(1)
    for number in range(40):
        one = Grant(f"a{number}", "g0", "a", 10.0 * number, Tier.LOADED)
        streams.ended(one, Ending(0.1, 5.0, True), [], 10.0 * number + 5)
        streams.ended(replace(one, model="b", request_id=f"b{number}"), Ending(0.1, 5.0, True), [], 10.0 * number + 5)
    assert streams.believed == 1
