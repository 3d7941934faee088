import json

import pytest

from spoe_agent.requests.hints import NONE, Purpose, beginning, hints_of

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


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"num_batch": 128}, "num_batch=128"),
        ({"use_mmap": False, "num_gpu": 0, "num_ctx": 8192}, "num_gpu=0 use_mmap=False"),
        ({"num_thread": 4, "main_gpu": 1, "draft_num_predict": 2}, "draft_num_predict=2 main_gpu=1 num_thread=4"),
        ({"num_gpu": -1, "temperature": 1, "use_mmap": None}, ""),
        ({"num_batch": "128", "num_thread": 10**400}, ""),
        ({}, ""),
    ],
)
def test_what_else_a_runner_is_started_with(options, expected):
    assert hints({"options": options}).runner_options == expected
    assert hints({"options": options}, "/v1/chat/completions").runner_options == ""


@pytest.mark.parametrize(
    ("path", "document", "expected"),
    [
        ("/api/generate", {"keep_alive": 0}, Purpose.UNLOAD),
        ("/api/generate", {"prompt": "", "keep_alive": 0.0}, Purpose.UNLOAD),
        ("/api/generate", {"keep_alive": "0s", "images": []}, Purpose.UNLOAD),
        ("/api/chat", {"messages": [], "keep_alive": "0"}, Purpose.UNLOAD),
        ("/api/chat", {"messages": None, "keep_alive": 0}, Purpose.UNLOAD),
        ("/api/generate", {"prompt": "x", "keep_alive": 0}, Purpose.ANSWER),
        ("/api/generate", {"Prompt": "x", "keep_alive": 0}, Purpose.ANSWER),
        ("/api/chat", {"messages": [USER], "keep_alive": 0}, Purpose.ANSWER),
        ("/api/chat", {"prompt": "x", "keep_alive": 0}, Purpose.UNLOAD),
        ("/api/generate", {}, Purpose.LOAD),
        ("/api/generate", {"Keep_Alive": 0}, Purpose.UNLOAD),
        ("/api/generate", {"\u212aeep_alive": 0}, Purpose.UNLOAD),
        ("/api/generate", {"keep_alive": 0, "Keep_Alive": "1h"}, Purpose.LOAD),
        ("/api/chat", {"me\u017fsages": [USER], "keep_alive": 0}, Purpose.ANSWER),
        ("/api/generate", {"keep_alive": False}, Purpose.LOAD),
        ("/api/generate", {"keep_alive": -1}, Purpose.LOAD),
        ("/api/generate", {"keep_alive": "5m"}, Purpose.LOAD),
        ("/api/chat", {"messages": []}, Purpose.LOAD),
        ("/api/embed", {"input": []}, Purpose.LOAD),
        ("/api/embed", {"input": "", "keep_alive": 0}, Purpose.LOAD),
        ("/api/embeddings", {"prompt": ""}, Purpose.LOAD),
        ("/api/embed", {"input": ["x"]}, Purpose.ANSWER),
        ("/v1/chat/completions", {"messages": [], "keep_alive": 0}, Purpose.ANSWER),
        ("/v1/embeddings", {}, Purpose.ANSWER),
    ],
)
def test_what_is_wanted_of_the_model(path, document, expected):
    assert hints_of(path, {"model": "m", **document}, is_whole=True).purpose is expected
    assert hints_of(path, {"model": "m", **document}).purpose is Purpose.ANSWER


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
