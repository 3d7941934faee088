import json

import pytest

from spoe_agent.requests.reading import Whole, facts
from spoe_agent.routing import Dialect
from tests.requests.naming import CASES


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_what_a_request_is_for(case):
    shown = facts(Whole("r1", case.method, case.path, case.body, case.type, case.encoding))
    assert (shown.request_id, shown.kind, shown.model, shown.problem) == ("r1", case.kind, case.model, case.problem)
    assert shown.detail.startswith(case.told)
    assert shown.body_bytes == len(case.body)


def test_the_dialect_is_the_paths():
    assert facts(Whole("r1", "POST", "/v1/messages")).dialect is Dialect.ANTHROPIC


@pytest.mark.parametrize(
    ("path", "options", "num_ctx"),
    [
        ("/api/chat", {"num_ctx": 8192}, 8192),
        ("/v1/chat/completions", {"num_ctx": 8192}, None),
        ("/api/chat", {"num_ctx": "8192"}, None),
        ("/api/chat", {"num_ctx": True}, None),
        ("/api/chat", {"num_ctx": 0}, None),
        ("/api/chat", None, None),
        ("/api/chat", [8192], None),
    ],
)
def test_another_context_than_the_loaded_one(path, options, num_ctx):
    body = json.dumps({"model": "m", "options": options}).encode()
    assert facts(Whole("r1", "POST", path, body)).num_ctx == num_ctx


def prefix(*messages):
    said = [{"role": role, "content": content} for role, content in messages]
    return facts(Whole("r1", "POST", "/api/chat", json.dumps({"model": "m", "messages": said}).encode())).prefix


def test_a_conversation_is_known_by_its_beginning():
    first = prefix(("user", "hello"))
    assert first
    assert prefix(("user", "hello"), ("assistant", "yes?"), ("user", "go on")) == first
    assert prefix(("user", "other")) != first
    shared = ("system", "be brief")
    assert prefix(shared, ("user", "a")) != prefix(shared, ("user", "b"))
    assert prefix(shared, ("user", "a")) == prefix(shared, ("user", "a"), ("assistant", "x"))
    assert prefix(("user", [{"type": "text", "text": "a"}])) != prefix(("user", [{"type": "text", "text": "b"}]))
    assert "hello" not in first


@pytest.mark.parametrize("messages", [None, [], ["hello"], {"0": {}}, [{"role": "user"}], 7])
def test_what_is_no_conversation_has_no_beginning(messages):
    body = json.dumps({"model": "m", "messages": messages}).encode()
    assert facts(Whole("r1", "POST", "/api/chat", body)).prefix == ""


def test_the_caller_is_as_the_front_end_found_it():
    assert facts(Whole("r1", "GET", "/", caller="10.0.0.1")).caller == "10.0.0.1"
