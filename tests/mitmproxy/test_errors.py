"""Errors at the door, in Ollama's own words: its answers to 230 requests."""

import pytest

from spoe_agent.requests.reading import Whole, facts
from spoe_agent.routing import choose
from tests.requests.errors import cases
from tests.routing.builders import fleet, moment, state

CASES = cases()


@pytest.mark.parametrize(("path", "body", "status", "text"), CASES.values(), ids=CASES)
def test_errors_are_ollamas(path, body, status, text):
    choice = choose(facts(Whole("r1", "POST", path, body)), fleet("g0"), moment(g0=state()))
    assert (choice.status, choice.message) == (status, text)
