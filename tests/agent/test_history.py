"""The latest decisions: bounded, and joined with how requests ended."""

import pytest

from spoe_agent.agent.ending import Ending, Line
from spoe_agent.agent.history import History
from spoe_agent.routing import Action, Candidate, Choice, Dialect, Kind, Reason, RequestFacts
from spoe_agent.routing.names import canonical

A, B = canonical("a"), canonical("b")


def facts(request_id, model=A, kind=Kind.INFERENCE):
    return RequestFacts(request_id, kind, Dialect.OLLAMA, model)


def choice(candidates=1, action=Action.ROUTE, reason=Reason.LOADED):
    return Choice(action, reason, "g0", candidates=tuple(Candidate(f"g{number}") for number in range(candidates)))


def line(request_id, name=""):
    return Line(request_id, "g0", Ending(0.1, 0.2, is_whole=True), name=name)


def ids(history, *args):
    return [entry.facts.request_id for entry in history.last(*args)]


@pytest.mark.parametrize(("candidates", "kept"), [(0, 5), (1, 5), (2, 5), (3, 4), (4, 3), (12, 1), (13, 0)])
def test_it_is_bounded_by_number_and_by_what_takes_memory(candidates, kept):
    history = History(kept=5, candidates=12)
    for number in range(20):
        history.decided(facts(str(number)), choice(candidates), float(number))
    assert ids(history, 100) == [str(19 - number) for number in range(kept)]


def test_one_that_is_decided_again_takes_one_place():
    history = History(kept=5, candidates=4)
    for now_s in range(10):
        history.decided(facts("1"), choice(2), float(now_s))
    history.decided(facts("2"), choice(2), 10.0)
    assert ids(history, 100) == ["2", "1"]
    assert history.find("1").at_s == 9.0


def test_what_a_held_request_got_at_last_and_how_it_ended():
    history = History()
    history.decided(facts("1"), choice(action=Action.HOLD), 1.0)
    history.granted("1", choice(2), 3.5)
    history.predicted("1", 0.5)
    history.ended(line("1", "job-1"))
    for name in ("1", "job-1"):
        entry = history.find(name)
        assert (entry.choice.action, entry.held_s, entry.predicted_s) == (Action.ROUTE, 3.5, 0.5)
        assert entry.line.ending.total_s == 0.2
    assert history.find("job-2") is None
    assert (history.get("1"), history.get("job-1")) == (history.find("1"), None)


def test_a_refusal_is_explained_by_what_was_seen_before():
    history = History()
    history.decided(facts("1"), choice(2, Action.HOLD), 1.0)
    history.granted("1", Choice(Action.REJECT, Reason.HOLD_TIMEOUT, message="no slot"), 60.0)
    entry = history.find("1")
    assert (entry.choice.reason, len(entry.choice.candidates)) == (Reason.HOLD_TIMEOUT, 2)


def test_ends_of_what_is_not_kept_are_let_go():
    history = History()
    history.granted("1", choice(), 1.0)
    history.predicted("1", 1.0)
    history.ended(line("1", "job"))
    assert len(history) == 0


def test_lists_take_no_place_and_refusals_do():
    history = History()
    history.decided(facts("list", None, Kind.LIST), choice(), 1.0)
    history.decided(facts("bad", None), Choice(Action.REJECT, Reason.UNREADABLE), 1.0)
    assert ids(history, 100) == ["bad"]


def test_the_latest_of_one_model():
    history = History()
    for number, model in enumerate((A, B, A, B)):
        history.decided(facts(str(number), model), choice(), 1.0)
    assert ids(history, 3) == ["3", "2", "1"]
    assert ids(history, 3, A) == ["2", "0"]
