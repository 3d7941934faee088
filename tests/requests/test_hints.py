import json

import pytest

from spoe_agent.requests.hints import NONE, beginning, hints_of

USER = {"role": "user", "content": "hello"}
SYSTEM = {"role": "system", "content": "be kind"}


def hints(document, path="/api/chat"):
    return hints_of(path, beginning(json.dumps(document).encode()))


@pytest.mark.parametrize(
    ("path", "document", "expected"),
    [
        ("/api/chat", {"options": {"num_ctx": 4096}}, 4096),
        ("/api/generate", {"options": {"num_ctx": 4096}}, 4096),
        ("/v1/chat/completions", {"options": {"num_ctx": 4096}}, None),
        ("/api/chat", {"options": {"num_ctx": 0}}, None),
        ("/api/chat", {"options": {"num_ctx": True}}, None),
        ("/api/chat", {"options": {"num_ctx": "many"}}, None),
        ("/api/chat", {"options": {"num_ctx": 4096.9}}, 4096),
        ("/api/chat", {"options": {"num_ctx": -1}}, 4),
        ("/api/chat", {"options": {"num_ctx": 2**31 - 1}}, 2**31 - 1),
        ("/api/chat", {"options": {"num_ctx": 2**31}}, None),
        ("/api/chat", {"options": {"num_ctx": 10**400}}, None),
        ("/api/chat", {"options": {"num_ctx": -(10**400)}}, None),
        ("/api/chat", {"options": {"num_ctx": 1e300}}, None),
        ("/api/chat", {"options": [4096]}, None),
        ("/api/chat", {"num_ctx": 4096}, None),
        ("/api/chat", [{"options": {"num_ctx": 4096}}], None),
    ],
)
def test_context(path, document, expected):
    assert hints(document, path).num_ctx == expected


SAME = [
    ({"messages": [USER]}, {"messages": [USER, {"role": "assistant", "content": "yes?"}]}),
    ({"messages": [SYSTEM, USER]}, {"messages": [SYSTEM, USER, USER], "stream": False}),
    ({"messages": [{**USER, "content": "x" * 5000}]}, {"messages": [{**USER, "content": "x" * 9000}]}),
]
DIFFERENT = [
    ({"messages": [USER]}, {"messages": [{**USER, "content": "bye"}]}),
    ({"messages": [SYSTEM, USER]}, {"messages": [SYSTEM, {**USER, "content": "bye"}]}),
    ({"messages": [SYSTEM, USER]}, {"messages": [USER]}),
    ({"messages": [{"content": [{"type": "text", "text": "a"}]}]}, {"messages": [{"content": [{"type": "text"}]}]}),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_turns_of_a_conversation_begin_alike(one, other):
    assert hints(one).prefix == hints(other).prefix != ""


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_conversations_are_told_apart(one, other):
    assert hints(one).prefix != hints(other).prefix


@pytest.mark.parametrize(
    "head", [b"", b"\xff", b"[]", b"{", b'{"messages":7}', b'{"messages":[7]}', b'{"messages":[{}]}']
)
def test_what_shows_nothing(head):
    assert hints_of("/api/chat", beginning(head)) == NONE


def test_a_beginning_is_enough():
    document = {"model": "m", "options": {"num_ctx": 8192}, "messages": [{**USER, "content": "x" * 20_000}]}
    head = json.dumps(document).encode()[:16_384]
    assert hints_of("/api/chat", beginning(head)) == hints(document)
