"""What is loaded before anybody asks, on a real board."""

from dataclasses import replace

import pytest

from spoe_agent.agent.agent import Agent
from spoe_agent.agent.board import Board
from spoe_agent.agent.ending import Ending
from spoe_agent.agent.preload import by_demand, without_own
from spoe_agent.routing import Dialect, Health, InstanceLoad, Kind, ModelRule, RequestFacts
from spoe_agent.routing.estimates import GIB
from tests.routing.builders import A, B, C, fleet, spec, state

SMALL = {"size_bytes": GIB}


async def nothing():
    return None


class Rig:
    """An agent over instances that are up and have nothing loaded."""

    def __init__(self, *specs, rules=()):
        self.now_s = 1000.0
        self.agent = Agent(fleet(*specs, rules=rules), Board(), nothing, lambda: self.now_s)
        for one in self.agent.fleet.instances:
            self.read(one.name)

    def read(self, name, *loaded, **more):
        self.agent.published(name, replace(state(*loaded, **SMALL, **more), loaded_at_s=self.now_s))

    def came_up(self, name, *had):
        self.agent.preload.came_up(name, had, self.now_s)

    def due(self):
        load = self.agent.preload.due(self.now_s)
        return None if load is None else (load.instance, load.model)

    def done(self, load):
        self.agent.ended(load.request_id, load.instance, Ending(5.0, 5.0, True))
        self.agent.preload.ended(load)

    def ask(self, model, **more):
        facts = RequestFacts(f"r-{model}-{self.now_s}", Kind.INFERENCE, Dialect.OLLAMA, model, **more)
        return self.agent.decide(facts)


def test_what_was_loaded_is_loaded_again_one_at_a_time_the_most_wanted_first():
    rig = Rig("g0")
    rig.agent.learner.arrived(B, rig.now_s)
    rig.came_up("g0", A, B)
    load = rig.agent.preload.due(rig.now_s)
    assert (load.instance, load.model) == ("g0", B)
    assert rig.due() is None
    assert set(rig.agent.board.activity("g0").loading) == {B}
    rig.done(load)
    rig.now_s += 1
    rig.read("g0", B)
    assert rig.due() == ("g0", A)


@pytest.mark.parametrize(
    ("sizes_gib", "expected"),
    [
        pytest.param((2, 10), [B, A], id="any order will do: the most wanted first"),
        pytest.param((17, 3), [A, B], id="beside the small one the large one would find no room"),
        pytest.param((17, 10), [B, A], id="they do not fit together"),
    ],
)
def test_the_largest_first_where_it_would_find_no_room_beside_the_others(sizes_gib, expected):
    rules = [ModelRule(name, vram_bytes=size * GIB) for name, size in zip("ab", sizes_gib, strict=True)]
    rig = Rig(spec("g0", vram_bytes=22 * GIB), rules=rules)
    rig.agent.learner.arrived(B, rig.now_s)
    rig.came_up("g0", A, B)
    assert rig.agent.preload.waiting("g0") == expected


def test_one_after_the_other_before_readings_show_the_first():
    rig = Rig("g0")
    rig.came_up("g0", A, B)
    rig.done(rig.agent.preload.due(rig.now_s))
    second = rig.agent.preload.due(rig.now_s)
    assert second is not None and not rig.agent.preload.gives_way(second)


def test_instances_begin_one_after_the_other():
    rig = Rig("g0", "g1")
    rig.came_up("g0", A)
    rig.came_up("g1", A)
    assert [rig.due(), rig.due(), rig.due()] == [("g0", A), ("g1", A), None]


def test_it_teaches_how_long_loads_take_and_leaves_nothing_in_flight():
    rig = Rig("g0")
    rig.came_up("g0", A)
    load = rig.agent.preload.due(rig.now_s)
    assert rig.agent.board.grants == 1
    rig.done(load)
    assert rig.agent.board.grants == 0
    assert [mean.samples for mean in rig.agent.learner.from_disk.values()] == [1]
    counts = rig.agent.record.counts
    assert not (counts.ended or counts.load_s or counts.loads), "nobody asked for it"


@pytest.mark.parametrize("process", ["", "11-a"], ids=["mitmproxy's", "HAProxy's"])
def test_counts_of_a_front_end_which_has_no_part_in_a_load_do_not_end_it(process):
    rig = Rig("g0")
    rig.came_up("g0", A)
    assert rig.due() == ("g0", A)
    for _ in range(5):
        rig.now_s += 3.0
        rig.ask(B, loads={"g0": InstanceLoad(0, 0, is_up=True)}, process=process)
    assert (rig.agent.board.activity("g0").in_flight[A], rig.agent.board.struck) == (1, 4)


PINS = {
    # rules, what is loaded on g1 -> what g0 loads
    "to it": ([ModelRule("a", ("g0",))], (), A),
    "to it, with a copy elsewhere": ([ModelRule("a", ("g0", "g1"))], (A,), None),
    "to another": ([ModelRule("a", ("g1",))], (), None),
    "a pattern": ([ModelRule("a*", ("g0",))], (), None),
    "no pin": ([ModelRule("a")], (), None),
}


@pytest.mark.parametrize(("rules", "there", "expected"), PINS.values(), ids=PINS)
def test_what_is_pinned_has_a_copy(rules, there, expected):
    rig = Rig("g0", "g1", rules=rules)
    rig.read("g1", *there)
    rig.came_up("g0")
    found = rig.due()
    assert (found and found[1]) == expected


def test_a_pin_to_two_is_loaded_once():
    rig = Rig("g0", "g1", rules=[ModelRule("a", ("g0", "g1"))])
    rig.came_up("g0")
    rig.came_up("g1")
    assert [rig.due(), rig.due()] == [("g0", A), None]


def test_nothing_goes_for_it():
    rig = Rig(spec("g0", vram_bytes=6 * GIB))
    rig.read("g0", B, C)
    rig.came_up("g0", A)
    assert rig.due() is None
    rig.read("g0")
    assert rig.due() is None, "it is not tried again"


WAITING = {
    "it is drained": {"health": Health.DRAINED},
    "it is doubted": {"health": Health.SUSPECT},
    "its loads are in doubt": {"loads_in_doubt": True},
    "it has just started": {"is_starting": True, "installed": ()},
}


@pytest.mark.parametrize("more", WAITING.values(), ids=WAITING)
def test_it_waits_until_the_instance_is_well(more):
    rig = Rig("g0")
    rig.read("g0", **more)
    rig.came_up("g0", A)
    assert rig.due() is None
    rig.read("g0")
    assert rig.due() == ("g0", A)


def test_an_instance_that_is_drained_to_be_started_anew_loads_all_the_same():
    rig = Rig("g0")
    rig.read("g0", health=Health.DRAINED)
    rig.agent.preload.came_up("g0", [A], rig.now_s, even_drained=True)
    rig.came_up("g0", A)  # as polls see it
    assert rig.agent.preload.waiting("g0") == [A]
    assert rig.due() == ("g0", A)
    assert rig.agent.preload.waiting("g0") == [A]


def test_it_waits_for_a_load_that_a_request_began():
    rig = Rig("g0")
    rig.came_up("g0", A)
    rig.ask(B)
    assert rig.due() is None
    rig.now_s += 1
    rig.read("g0", B)
    assert rig.due() == ("g0", A)


def test_what_a_request_loads_meanwhile_is_not_loaded_again():
    rig = Rig("g0")
    rig.came_up("g0", A)
    rig.ask(A)
    rig.now_s += 1
    rig.read("g0", A)
    assert rig.due() is None


@pytest.mark.parametrize(("asked", "gives_way"), [((), False), ((A,), False), ((B,), True), ((B, A), False)], ids=str)
def test_a_load_gives_way_to_another_unless_somebody_waits_for_it(asked, gives_way):
    rig = Rig("g0")
    rig.came_up("g0", A)
    load = rig.agent.preload.due(rig.now_s)
    for model in asked:
        rig.ask(model)
    assert rig.agent.preload.gives_way(load) is gives_way


def test_after_ten_minutes_it_is_too_late():
    rig = Rig("g0")
    rig.came_up("g0", A)
    rig.ask(B)
    assert rig.due() is None
    rig.now_s += 601.0
    rig.read("g0", B)
    assert rig.due() is None


def test_the_next_agent_does_not_wait_for_the_ends_of_own_loads():
    rig = Rig("g0")
    rig.came_up("g0", A)
    assert rig.due() == ("g0", A)
    rig.ask(B)
    kept = without_own(rig.agent.board.ledgers())
    assert [grant.model for grant in kept["g0"].grants] == [B]


def test_the_next_agent_loads_what_is_left():
    before, after = Rig("g0", "g1"), Rig("g0")
    before.came_up("g0", A, B)
    before.came_up("g1", C)
    assert before.due() == ("g0", A)
    to_load = before.agent.preload.to_load()
    assert [to_load[name].models for name in ("g0", "g1")] == [[A, B], [C]]
    after.came_up("g0", C)
    after.agent.preload.take(to_load)
    assert {name: it.models for name, it in after.agent.preload.to_load().items()} == {"g0": [A, B, C]}
    assert after.due() == ("g0", A)


@pytest.mark.parametrize(("passed_s", "expected"), [(599.0, [A]), (601.0, [])])
def test_the_next_agent_has_no_more_time_for_it(passed_s, expected):
    before, after = Rig("g0"), Rig("g0")
    before.came_up("g0", A)
    after.agent.preload.take(before.agent.preload.to_load())
    after.now_s += passed_s
    after.due()
    assert after.agent.preload.waiting("g0") == expected


def test_one_that_was_drained_for_it_loads_under_the_next_agent_too():
    before, after = Rig("g0"), Rig("g0")
    before.agent.preload.came_up("g0", [A], before.now_s, even_drained=True)
    after.read("g0", health=Health.DRAINED)
    after.agent.preload.take(before.agent.preload.to_load())
    assert after.due() == ("g0", A)


def test_what_is_loaded_is_kept_in_the_order_of_demand():
    assert by_demand({"g0": (A, B, C), "g1": ()}, {B: 2.0, C: 1.0}) == {"g0": [B, C, A]}
