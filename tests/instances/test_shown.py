"""What is asked of Ollamas about their models, on a real agent: once, one at a time, of who has time."""

from dataclasses import replace

import pytest

from spoe_agent.agent.agent import Agent
from spoe_agent.agent.board import Board
from spoe_agent.instances.shown import AGAIN_S, SPARE, Shown
from spoe_agent.routing import Dialect, Health, Kind, ModelRule, RequestFacts
from spoe_agent.routing.memory import ModelShape
from tests.routing.builders import A, B, C, fleet, spec, state

SHAPE = ModelShape(131072, batch_bytes=96)


async def nothing():
    return None


class Rig:
    """An agent over instances with models, and what they are asked."""

    def __init__(self, rules=(), **digests):
        self.now_s, self.asked, self.says = 1000.0, [], SHAPE
        self.agent = Agent(fleet(*map(spec, digests), rules=rules), Board(), nothing, lambda: self.now_s)
        self.board = self.agent.board
        for name, listed in digests.items():
            self.board.namesakes.read(name, listed)
            self.agent.published(name, state())
        self.shown = Shown(self.agent, self.show, lambda: self.now_s)

    async def show(self, instance, model):
        self.asked.append((instance, model))
        if isinstance(self.says, Exception):
            raise self.says
        return self.says


async def test_each_model_is_asked_for_once_one_at_a_time():
    rig = Rig(g0={A: "a", B: "b"}, g1={A: "a"})
    for number in (1, 2, 2):
        await rig.shown.look()
        assert len(rig.asked) == number
    assert sorted(rig.asked) == [("g0", "a:latest"), ("g0", "b:latest")]
    assert rig.board.snapshot({}, rig.now_s).shapes == {A: SHAPE, B: SHAPE}


async def test_copies_of_one_model_are_one_question():
    rig = Rig(g0={A: "same", B: "same"})
    await rig.shown.look()
    await rig.shown.look()
    assert len(rig.asked) == 1
    assert rig.board.shapes == {A: SHAPE, B: SHAPE}


async def test_what_is_asked_for_comes_first():
    rig = Rig(g0={A: "a", B: "b", C: "c"})
    rig.agent.learner.arrived(C, rig.now_s)
    await rig.shown.look()
    assert rig.asked == [("g0", "c:latest")]


@pytest.mark.parametrize("instance", ["busy", "down"])
async def test_who_is_busy_or_unwell_is_not_asked(instance):
    rig = Rig(g0={A: "a"}, g1={A: "a"} if instance == "down" else {})
    if instance == "down":
        rig.agent.published("g0", replace(state(), health=Health.DOWN))
    else:
        rig.agent.decide(RequestFacts("r", Kind.INFERENCE, Dialect.OLLAMA, A))
    await rig.shown.look()
    assert rig.asked == ([("g1", "a:latest")] if instance == "down" else [])


@pytest.mark.parametrize(
    ("rules", "digest"), [((ModelRule("a", shape=SHAPE),), "a"), ((), "")], ids=["the file says it", "no digest"]
)
async def test_what_needs_no_question(rules, digest):
    rig = Rig(rules, g0={A: digest})
    await rig.shown.look()
    assert rig.asked == []


@pytest.mark.parametrize("says", [None, OSError("gone"), TimeoutError()])
async def test_who_tells_nothing_is_asked_again_later(says):
    rig = Rig(g0={A: "a"})
    rig.says = says
    await rig.shown.look()
    rig.says = SHAPE
    await rig.shown.look()
    assert (len(rig.asked), rig.board.shapes) == (1, {})
    rig.now_s += AGAIN_S
    await rig.shown.look()
    assert rig.board.shapes == {A: SHAPE}


@pytest.mark.parametrize("says", [OSError("gone"), TimeoutError()])
async def test_another_instance_is_asked_where_one_gives_no_answer(says):
    rig = Rig(g0={A: "a", B: "b"}, g1={A: "a", B: "b"})
    rig.says = says
    await rig.shown.look()
    rig.says = SHAPE
    await rig.shown.look()
    await rig.shown.look()
    assert rig.asked[0][0] == "g0"
    assert sorted(rig.asked[1:]) == [("g1", "a:latest"), ("g1", "b:latest")]
    assert rig.board.shapes == {A: SHAPE, B: SHAPE}


async def test_what_a_file_does_not_say_nobody_else_is_asked():
    rig = Rig(g0={A: "a"}, g1={A: "a"})
    rig.says = None
    await rig.shown.look()
    await rig.shown.look()
    assert len(rig.asked) == 1


@pytest.mark.parametrize(("count", "asked"), [(SPARE, []), (SPARE + 2, [("g0", "b:latest")])])
async def test_what_is_in_no_list_is_forgotten_once_it_is_much(count, asked):
    rig = Rig(g0={A: "a"})
    rig.shown.take({"a": SHAPE} | {f"old{number}": SHAPE for number in range(count)})
    rig.board.namesakes.read("g0", {A: "a", B: "old0"})
    await rig.shown.look()
    assert rig.asked == asked
    assert rig.board.shapes == {A: SHAPE, B: SHAPE}


async def test_a_name_that_stands_for_another_model_elsewhere_is_the_last_lists():
    rig, other = Rig(g0={A: "a"}, g1={A: "other"}), replace(SHAPE, batch_bytes=1)
    rig.says = other
    rig.shown.take({"other": other})
    rig.says = SHAPE
    await rig.shown.look()
    assert (rig.asked, rig.board.shapes) == ([("g0", "a:latest")], {A: other})


async def test_what_was_known_before_is_not_asked_again_and_follows_the_lists():
    rig = Rig(g0={A: "a"})
    rig.shown.take({"a": SHAPE, "gone": SHAPE})
    assert rig.board.shapes == {A: SHAPE}
    assert rig.shown.kept() == {"a": SHAPE}
    rig.board.namesakes.read("g0", {B: "a"})
    await rig.shown.look()
    assert (rig.asked, rig.board.shapes) == ([], {B: SHAPE})
