"""Explanations for people: plain words, 80 columns, nothing that a terminal cannot show."""

import io

import pytest
from rich.console import Console

from spoe_agent.admin import explain
from spoe_agent.admin.explained import explanation, overview
from spoe_agent.admin.wording import TERMS, UNSERVED, WHY, unserved
from spoe_agent.agent.ending import Ending, Line
from spoe_agent.agent.unserved import LEFT_LOAD, LEFT_QUEUE, TURNED_AWAY, Lately
from spoe_agent.routing import Reason, Tier
from spoe_agent.routing.choice import Cost
from spoe_agent.routing.names import canonical
from tests.metrics.rig import Rig


def shown(found, width=80):
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(found)
    return console.export_text()


def words(found):
    """The text without line breaks."""
    return " ".join(shown(found).split())


def test_every_term_and_every_warmth_has_words():
    assert set(TERMS) == set(Cost._fields)
    assert set(WHY) == {tier.name.lower() for tier in Tier}


def past(rig, name):
    return explanation(explain.one(rig.agent, name, rig.clock()))


def test_every_cause_of_what_was_not_served_has_words():
    assert set(UNSERVED) == TURNED_AWAY | {LEFT_QUEUE, LEFT_LOAD}
    found = {Reason.CANNOT_FIT: Lately(3, canonical("huge:70b"), 92.0), Reason.TOO_LARGE: Lately(1, "", 100.0)}
    assert unserved(found, 100.0) == [
        "no instance has the GPU memory for huge:70b: 3 not served, the last 8 s ago",
        "a body was too large for its model to be found: 1 not served, the last 0 s ago",
    ]


def test_a_request_that_was_answered():
    rig = Rig()
    rig.ask("r1", caller="10.0.0.5")
    rig.agent.record.ended(Line("r1", "g0", Ending(0.3, 2.0, is_whole=True)))
    rig.agent.record.history.predicted("r1", 0.25)
    rig.clock.now_s += 5.0
    text = words(past(rig, "r1"))
    assert text.startswith("r1: a:latest for 10.0.0.5, 5 s ago, went to g0: it is loaded there.")
    assert "> g0 loaded" in text
    assert "load: loading the model, or what is left of that" in text
    end = "It was answered by g0 with 200: 0.30 s until the first token (predicted: 0.25 s), 2.00 s in all."
    assert text.endswith(end)


def test_a_request_that_waited_and_broke():
    rig = Rig()
    rig.watch.drain("g1")
    for name in ("r1", "r2", "r3"):
        rig.ask(name)
    assert "r3: a:latest, 0 s ago, held: no slot is free. It waits least for g0" in words(past(rig, "r3"))
    assert "g1 out: drained" in words(past(rig, "r3"))
    rig.clock.now_s += 4.0
    rig.end("r1", "g0", 0.3, 2.0)
    assert "went to g0: it is loaded there, after 4.00 s in the queue." in words(past(rig, "r3"))
    assert words(past(rig, "r3")).endswith("It has not ended, as far as is known.")
    rig.agent.record.ended(Line("r3", "g0", Ending(0.3, 2.0, is_whole=False), status=200, termination="SD"))
    assert words(past(rig, "r3")).endswith("It ended with 200, termination SD in HAProxy's words.")


def test_a_request_that_was_turned_away():
    rig = Rig()
    rig.ask("r1", "nobody")
    assert "was turned away with 404, not found: model 'nobody' not found" in words(past(rig, "r1"))


def test_what_would_be():
    rig = Rig()
    text = words(explanation(explain.would(rig.agent, "b")))
    assert text.startswith("A request for b:latest would now be sent to g1: there is room to load it")
    assert "a:latest must go for it" in text
    assert "ended" not in text
    gone = words(explanation(explain.would(rig.agent, "nobody")))
    assert gone.startswith("A request for nobody:latest would now be turned away with 404")


def test_a_row_for_each():
    rig = Rig()
    rig.ask("r1")
    rig.ask("r2", "nobody")
    rig.agent.record.ended(Line("r1", "g0", Ending(0.3, 2.0, is_whole=True), name="job-1"))
    text = shown(overview(explain.last(rig.agent, 9, None, rig.clock())))
    head, second, first = (" ".join(line.split()) for line in text.splitlines())
    assert head == "age model to reason held first end id"
    assert second == "0 s nobody:latest reject not found - - runs r2"
    assert first == "0 s a:latest g0 loaded - 0.30 s 200 -- job-1"


@pytest.mark.parametrize("width", [40, 80])
def test_it_fits_and_is_plain(width):
    rig = Rig()
    for number in range(4):
        rig.ask(f"r{number}")
    text = shown(past(rig, "r3"), width)
    assert max(map(len, text.splitlines())) <= width
    assert text.isascii()
