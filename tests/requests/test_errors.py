"""Errors at the door: their bodies in each dialect, and their texts in Ollama's own words to 230 requests."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spoe_agent.requests.errors import error_body, error_type
from spoe_agent.requests.reading import Whole, facts
from spoe_agent.routing import Dialect, choose
from tests.requests.errors import cases
from tests.routing.builders import fleet, moment, state

OLLAMA, OPENAI, ANTHROPIC = Dialect
ERROR_TYPES = [
    (OPENAI, 400, "invalid_request_error"),
    (OPENAI, 404, "not_found_error"),
    (OPENAI, 413, "api_error"),
    (OPENAI, 503, "api_error"),
    (ANTHROPIC, 400, "invalid_request_error"),
    (ANTHROPIC, 404, "not_found_error"),
    (ANTHROPIC, 413, "request_too_large"),
    (ANTHROPIC, 503, "overloaded_error"),
    (ANTHROPIC, 500, "api_error"),
    (OLLAMA, 400, ""),
    (OLLAMA, 503, ""),
]


@pytest.mark.parametrize(("in_dialect", "status", "expected"), ERROR_TYPES)
def test_error_type(in_dialect, status, expected):
    assert error_type(in_dialect, status) == expected


@given(st.sampled_from(Dialect), st.integers(400, 599), st.text(), st.uuids())
def test_any_message_makes_json(dialect, status, message, request_id):
    told = json.loads(error_body(dialect, status, message, str(request_id)))
    said = told["error"] if dialect is Dialect.OLLAMA else told["error"]["message"]
    assert said == message.encode("utf-8", "replace").decode()
    assert ("request_id" in told) is (dialect is Dialect.ANTHROPIC)


CASES = cases()


@pytest.mark.parametrize(("path", "body", "status", "text"), CASES.values(), ids=CASES)
def test_texts_are_ollamas(path, body, status, text):
    choice = choose(facts(Whole("r1", "POST", path, body)), fleet("g0"), moment(g0=state()))
    assert (choice.status, choice.message) == (status, text)
