"""How many models an instance keeps: stories of readings of `/api/ps`."""

from spoe_agent.instances.evictions import SOON_S, Evictions
from spoe_agent.routing.snapshot import LoadedModel

GIB = 1 << 30
ROOM = 48 * GIB


class Rig:
    """An instance of 48 GiB, whose models take 4 GiB each unless said; wall time is monotonic time."""

    def __init__(self, room=ROOM):
        self.evictions, self.room, self.now_s, self.loaded = Evictions(), room, 1000.0, {}

    def reads(self, *names, asked=(), size=4 * GIB, left_s=300.0):
        self.now_s += 1.0
        before, self.loaded = self.loaded, {}
        for name in names:
            self.loaded[name] = before.get(name) or LoadedModel(size, size, 4096, self.now_s + left_s)
        return self.evictions.see(before, self.loaded, asked, self.room, self.now_s, self.now_s)

    def evicts(self, victim, new, **more):
        """A load for which a model went."""
        stay = [name for name in self.loaded if name != victim]
        assert self.reads(*stay, **more) is None
        return self.reads(*stay, new, **{key: value for key, value in more.items() if key != "asked"})


def test_two_evictions_though_there_was_memory_show_the_limit():
    rig = Rig()
    rig.reads("a", "b", "c")
    assert rig.evicts("a", "d") is None
    assert rig.evicts("b", "e") == 3


def test_a_victim_and_what_it_went_for_may_be_seen_at_once():
    rig = Rig()
    rig.reads("a", "b")
    rig.reads("b", "c")
    assert rig.reads("c", "d") == 2


def test_what_was_asked_for_is_no_eviction():
    rig = Rig()
    rig.reads("a", "b", "c")
    for victim, new in ("ad", "be", "cf", "da"):
        assert rig.evicts(victim, new, asked=[victim]) is None


def test_what_had_its_time_is_no_eviction():
    rig = Rig()
    rig.reads("a", "b", "c", left_s=0.0)
    for victim, new in ("ad", "be", "cf", "da"):
        assert rig.evicts(victim, new, left_s=0.0) is None


def test_what_went_for_memory_says_nothing_of_the_number():
    rig = Rig()
    rig.reads("a", "b", "c", size=12 * GIB)
    for victim, new in ("ad", "be", "cf"):
        assert rig.evicts(victim, new, size=12 * GIB) is None


def test_without_knowing_the_memory_every_eviction_counts():
    rig = Rig(room=None)
    rig.reads("a", "b", "c", size=12 * GIB)
    rig.evicts("a", "d", size=12 * GIB)
    assert rig.evicts("b", "e", size=12 * GIB) == 3


def test_a_process_that_ended_evicted_nobody():
    rig = Rig()
    for _ in range(4):
        rig.reads("a", "b", "c")
        rig.reads()
        assert rig.reads("a") is None


def test_a_load_long_after_is_another_story():
    rig = Rig()
    rig.reads("a", "b", "c")
    for victim, new in ("ad", "be", "cf"):
        rig.reads(*[name for name in rig.loaded if name != victim])
        rig.now_s += SOON_S
        assert rig.reads(*rig.loaded, new) is None


def test_more_that_are_loaded_at_once_disprove_it():
    rig = Rig()
    rig.reads("a", "b", "c")
    rig.evicts("a", "d")
    assert rig.evicts("b", "e") == 3
    assert rig.reads("c", "d", "e", "f") == 4
