"""How readings become an instance's state: what stays valid, what does not, and the verdict beside it."""

import pytest

from spoe_agent.fleet import HealthPolicy
from spoe_agent.instances.health import InstanceHealth
from spoe_agent.instances.lists import InstalledModel
from spoe_agent.instances.reading import PollResult, Reading
from spoe_agent.instances.watched import Watched
from spoe_agent.routing import Health, InstanceState, LoadedModel
from spoe_agent.routing.names import canonical

A, B = canonical("a"), canonical("b")
LOADED, LIST, ON_DISK = {A: LoadedModel(1, 1)}, {A: InstalledModel(7)}, {A: 7}


class Rig:
    """One instance, read once a second since 100.0; at first it has `a` loaded."""

    def __init__(self):
        self.now_s, self.state = 99.0, InstanceState()
        self.watched = Watched(InstanceHealth("g0", HealthPolicy(), self.now_s))
        self.read(loaded=LOADED, installed=LIST, version="0.33.0")

    def read(self, outcome=PollResult.ANSWERED, why="", **brought):
        """Take what a poll brought that was asked for a second after the last."""
        self.now_s += 1
        reading = Reading(self.now_s, outcome, why, **brought)
        self.state = self.watched.polled(reading, self.state, (), self.now_s, self.now_s)
        return self.state


def test_the_first_reading():
    state = Rig().state
    assert (state.health, state.why, state.version) == (Health.UP, "", "0.33.0")
    assert (state.loaded, state.loaded_at_s, state.installed, state.installed_at_s) == (LOADED, 100.0, ON_DISK, 100.0)


def test_what_was_not_asked_for_stays_with_its_age():
    state = Rig().read(loaded={})
    assert (state.loaded, state.loaded_at_s) == ({}, 101.0)
    assert (state.installed, state.installed_at_s, state.version) == (ON_DISK, 100.0, "0.33.0")


@pytest.mark.parametrize("outcome", [PollResult.SLOW, PollResult.SILENT, PollResult.REFUSED])
def test_who_does_not_answer_once_keeps_its_readings_with_their_age(outcome):
    """It may be busy, or be started again."""
    state = Rig().read(outcome, "no answer in time")
    assert (state.health, state.why) == (Health.UP, "no answer in time")
    assert (state.loaded, state.loaded_at_s, state.installed) == (LOADED, 100.0, ON_DISK)


def test_half_a_poll_counts_for_what_it_brought():
    state = Rig().read(PollResult.SILENT, "GET /api/tags answered 500", loaded={})
    assert (state.loaded, state.loaded_at_s, state.installed, state.installed_at_s) == ({}, 101.0, ON_DISK, 100.0)


def test_who_is_gone_has_nothing_loaded_and_what_is_on_disk():
    rig = Rig()
    for loaded, loaded_at_s, health in ((LOADED, 100.0, Health.UP), ({}, 102.0, Health.DOWN), ({}, 103.0, Health.DOWN)):
        state = rig.read(PollResult.REFUSED, "connection refused")
        assert (state.loaded, state.loaded_at_s, state.health) == (loaded, loaded_at_s, health)
    assert (state.installed, state.version) == (ON_DISK, "0.33.0")
    state = rig.read(PollResult.SLOW, "no answer in time")
    assert (state.loaded, state.loaded_at_s, state.health) == ({}, 103.0, Health.DOWN)
    state = rig.read(loaded=LOADED, version="0.34.0")
    assert (state.loaded, state.health, state.version) == (LOADED, Health.RECOVERING, "0.34.0")


def test_whom_requests_find_down_keeps_what_is_loaded_until_polls_find_it_too():
    rig = Rig()
    for _ in range(2):
        rig.watched.health.refused("refused", rig.now_s)
    assert rig.read(PollResult.REFUSED, "connection refused").loaded == LOADED
    assert rig.read(PollResult.REFUSED, "connection refused").loaded == {}


def test_what_context_models_are_trained_for():
    rig = Rig()
    assert rig.read(installed={A: InstalledModel(7, trained_context=8192), B: InstalledModel(9)}).trained == {A: 8192}


def test_which_models_run_one_by_one():
    rig = Rig()
    assert rig.state.one_by_one == frozenset()
    state = rig.read(installed={A: InstalledModel(7), B: InstalledModel(9, is_one_by_one=True)})
    assert (state.installed, state.one_by_one) == ({A: 7, B: 9}, {B})


def test_what_is_loaded_and_not_listed_was_deleted():
    """Until the next list, readings of what is loaded tell no more."""
    rig = Rig()
    assert not rig.state.deleted
    assert rig.read(loaded=LOADED, installed={B: InstalledModel(7)}).deleted == {A}
    state = rig.read(loaded=LOADED)
    assert (state.deleted, set(state.loaded)) == ({A}, {A})
    assert not rig.read(loaded=LOADED, installed=LIST).deleted


def test_an_empty_list_of_who_starts_deletes_nothing():
    rig = Rig()
    state = rig.read(loaded=LOADED, installed={}, is_starting=True)
    assert (state.is_starting, state.deleted) == (True, frozenset())
    assert rig.read(loaded=LOADED).is_starting
    state = rig.read(loaded=LOADED, installed={})
    assert (state.is_starting, state.deleted) == (False, {A})


def test_one_word_ends_what_speaks_against_it():
    rig = Rig()
    for health in (Health.UP, Health.SUSPECT):
        state = rig.read(PollResult.SILENT, "GET /api/ps answered 500")
        assert (state.health, state.why) == (health, "GET /api/ps answered 500")
    rig.watched.health.served(rig.now_s)
    assert rig.read(loaded=LOADED).why == ""
