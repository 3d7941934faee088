from itertools import count

from spoe_agent.agent.suggestions import PAUSE, REMEMBERED_S, Suggestions
from spoe_agent.routing import Action, Choice, Reason
from spoe_agent.routing.names import canonical

REFUSED = Choice(Action.REJECT, Reason.NOT_FOUND, message="model 'x' not found")
INSTALLED = [{canonical("llama3"): 1, canonical("gemma"): 1}, {canonical("llama3"): 1}]


def told(suggestions, name, now_s, installed=INSTALLED):
    return suggestions.added(REFUSED, canonical(name), installed, now_s).message.removeprefix(REFUSED.message)


def test_close_names_are_told():
    assert told(Suggestions(), "lama3", 0.0) == "; did you mean 'llama3:latest'?"
    assert told(Suggestions(), "nobody", 0.0) == ""


def test_who_asks_for_many_names_gets_no_more_than_a_404():
    """Each look takes two seconds here."""
    suggestions, pause_s = Suggestions(count(step=2).__next__), 2 * PAUSE
    assert told(suggestions, "nobody", 0.0) == ""
    assert told(suggestions, "lama3", 0.9 * pause_s) == ""
    assert told(suggestions, "lama3", 1.1 * pause_s)
    assert told(suggestions, "gema", 1.2 * pause_s) == ""


def test_the_same_name_is_told_the_same_at_once_and_what_is_new_soon():
    suggestions, more = Suggestions(lambda: 0.0), [*INSTALLED, {canonical("lama3:8b"): 1}]
    first = told(suggestions, "lama3", 0.0)
    assert told(suggestions, "lama3", 0.0, more) == first
    assert told(suggestions, "lama3", REMEMBERED_S, more) == "; did you mean 'lama3:8b' or 'llama3:latest'?"
