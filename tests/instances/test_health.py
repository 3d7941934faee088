"""The states of one instance: as a table of what happened, and what holds whatever happens."""

import hypothesis.strategies as st
import pytest
from hypothesis import given

from spoe_agent.fleet import HealthPolicy
from spoe_agent.instances.health import InstanceHealth
from spoe_agent.instances.reading import PollResult, Reading
from spoe_agent.routing.snapshot import Health

POLICY = HealthPolicy(errors=2, probe_interval=5.0)
LISTS = Reading(0.0)
SLOW = Reading(0.0, PollResult.SLOW, "no answer in time")
WRONG = Reading(0.0, PollResult.SILENT, "GET /api/ps answered 500")
NOBODY = Reading(0.0, PollResult.REFUSED, "connection refused")

EVENTS = {
    "lists": lambda it, now_s: it.polled(LISTS, now_s),
    "slow lists": lambda it, now_s: it.polled(SLOW, now_s),
    "wrong lists": lambda it, now_s: it.polled(WRONG, now_s),
    "nobody": lambda it, now_s: it.polled(NOBODY, now_s),
    "refused": lambda it, now_s: it.refused("refused", now_s),
    "error": lambda it, now_s: it.erred("answered 500", now_s),
    "served": lambda it, now_s: it.served(now_s),
    "silent": lambda it, now_s: it.stalled("silent", False, now_s),
    "silent for long": lambda it, now_s: it.stalled("silent", True, now_s),
    "load stuck": lambda it, now_s: it.load_stalled("stuck", now_s),
    "loaded": lambda it, now_s: it.loaded(now_s),
    "probe answered": lambda it, now_s: it.probed("", False, now_s),
    "cold probe answered": lambda it, now_s: it.probed("", True, now_s),
    "probe failed": lambda it, now_s: it.probed("no token", False, now_s),
    "drain": lambda it, now_s: it.drain(now_s),
    "ready": lambda it, now_s: it.ready(now_s),
}

STORIES = [
    ("", "unknown"),
    ("lists", "up"),
    ("lists, slow lists, slow lists, slow lists", "up"),
    ("lists, wrong lists", "up"),
    ("lists, wrong lists, wrong lists", "suspect"),
    ("lists, wrong lists, lists, wrong lists", "up"),
    ("lists, wrong lists, slow lists, wrong lists", "up"),
    ("lists, wrong lists, nobody, wrong lists", "up"),
    ("wrong lists, wrong lists", "suspect"),
    ("nobody", "unknown"),
    ("nobody, nobody", "down"),
    ("lists, nobody", "up"),
    ("lists, nobody, nobody", "down"),
    ("lists, nobody, nobody, nobody", "down"),
    ("lists, nobody, lists, nobody", "up"),
    ("lists, nobody, slow lists, nobody", "down"),
    ("lists, nobody, wrong lists, nobody", "down"),
    ("lists, nobody, nobody, slow lists", "down"),
    ("lists, nobody, nobody, lists, served, nobody", "up"),
    ("lists, nobody, refused", "up"),
    ("lists, refused", "up"),
    ("lists, refused, lists, refused", "up"),
    ("lists, refused, refused", "down"),
    ("lists, nobody, nobody, lists", "recovering"),
    ("lists, nobody, nobody, lists, probe failed", "recovering"),
    ("lists, nobody, nobody, lists, cold probe answered", "up"),
    ("lists, nobody, nobody, lists, served", "up"),
    ("lists, error", "up"),
    ("lists, error, served, error", "up"),
    ("lists, error, error", "suspect"),
    ("lists, error, error, lists, lists", "suspect"),
    ("lists, error, error, served", "up"),
    ("lists, error, error, probe answered", "up"),
    ("lists, silent", "up"),
    ("lists, silent, probe answered", "up"),
    ("lists, silent, probe failed", "suspect"),
    ("lists, silent for long", "suspect"),
    ("lists, silent, served, probe failed", "up"),
    ("lists, load stuck", "suspect"),
    ("lists, load stuck, served, probe answered", "suspect"),
    ("lists, load stuck, loaded", "up"),
    ("lists, load stuck, cold probe answered", "up"),
    ("lists, load stuck, nobody, nobody, lists, served", "up"),
    ("lists, drain", "drained"),
    ("lists, drain, served, probe answered, lists", "drained"),
    ("lists, drain, ready", "up"),
    ("lists, drain, nobody, nobody, ready", "down"),
]


def lived(story):
    it = InstanceHealth("g0", POLICY, 0.0)
    for now_s, event in enumerate(filter(None, story.split(", "))):
        EVENTS[event](it, float(now_s))
    return it


@pytest.mark.parametrize(("story", "state"), STORIES)
def test_where_a_story_ends(story, state):
    assert str(lived(story).state) == state


def test_who_cannot_load_still_serves_what_is_loaded():
    it = lived("lists, load stuck")
    assert (it.for_routing, it.loads_in_doubt) == (Health.UP, True)


def test_slow_lists_are_noted_until_they_come_again():
    assert lived("lists, slow lists").note == "no answer in time"
    assert lived("lists, slow lists, lists").note == ""
    assert lived("lists, nobody").note == "connection refused"
    assert lived("lists, nobody, nobody").note == ""


@pytest.mark.parametrize(
    ("story", "is_gone"),
    [
        ("lists, nobody", False),
        ("lists, nobody, nobody", True),
        ("lists, nobody, nobody, slow lists", True),
        ("lists, nobody, nobody, lists", False),
        ("lists, refused, refused", False),
    ],
)
def test_only_polls_tell_that_nothing_can_be_loaded_any_more(story, is_gone):
    assert lived(story).is_gone is is_gone


def test_a_transition_says_what_it_rests_on():
    it = lived("lists, error")
    turn = it.erred("answered 502 for alpha", 9.0)
    assert (turn.before, turn.after, turn.evidence) == (Health.UP, Health.SUSPECT, "answered 502 for alpha")
    assert (it.since_s, it.evidence) == (9.0, "answered 502 for alpha")


@pytest.mark.parametrize("story", ["lists", "lists, nobody, nobody", "lists, error", "lists, drain"])
def test_who_is_not_in_doubt_is_not_probed(story):
    assert not lived(story).wants_probe(1000.0)


@pytest.mark.parametrize(
    "story", ["lists, error, error", "lists, nobody, nobody, lists", "lists, silent", "lists, load stuck"]
)
def test_probes_come_one_at_a_time_and_spaced(story):
    it = lived(story)
    assert it.wants_probe(10.0)
    it.probing()
    assert not it.wants_probe(100.0)
    it.probed("no token", False, 100.0)
    it.stalled("silent", False, 100.0)
    assert not it.wants_probe(104.9)
    assert it.wants_probe(105.0)


@given(st.lists(st.sampled_from(sorted(EVENTS)), max_size=30))
def test_whatever_happens(story):
    """Transitions link up, nothing but an answer leads from doubt to up, and a drain holds until it is lifted."""
    it = InstanceHealth("g0", POLICY, 0.0)
    state, drained = it.state, False
    for now_s, event in enumerate(story):
        found = EVENTS[event](it, float(now_s))
        turns = found if isinstance(found, list) else [found] if found is not None else []
        for turn in turns:
            assert turn.before is state
            assert turn.after is not state
            assert turn.evidence
            state = turn.after
        assert it.state is state
        drained = event == "drain" or (drained and event != "ready")
        assert (state is Health.DRAINED) == drained
        if turns and state is Health.UP and turns[-1].before in (Health.SUSPECT, Health.RECOVERING):
            assert event in {"served", "loaded", "probe answered", "cold probe answered"}


def test_requests_that_fail_between_probes_that_do_not_are_doubted_ever_longer():
    """Ten minutes with two errors a second wherever requests still go: a few changes of mind, not one every second."""
    it, doubts = InstanceHealth("g0", POLICY, 0.0), 0
    it.polled(LISTS, 0.0)
    for second in range(600):
        for _ in range(2):
            turn = it.erred("answered 500", second)
            doubts += turn is not None and turn.after is Health.SUSPECT
        if it.wants_probe(second):
            it.probed("", False, second)
    assert 5 <= doubts <= 20
    it.served(700.0)
    it.erred("answered 500", 800.0)
    it.erred("answered 500", 800.0)
    assert it.wants_probe(800.0), "what was long ago is forgotten"
