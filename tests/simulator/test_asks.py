"""Bodies to work: keep_alive, options, sessions, lengths."""

from __future__ import annotations

import json
import math

import pytest

from spoe_agent.simulator import asks
from spoe_agent.simulator.go_json import decode
from spoe_agent.simulator.go_structs import STRUCTS
from spoe_agent.simulator.work import Task
from tests.simulator.scenario import MODELS


def read(body):
    return decode(body, STRUCTS["/api/chat"], "EOF")


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("null", None),
        ("0", 0.0),
        ("2.5", 2.5),
        ("-1", math.inf),
        ('"5m"', 300.0),
        ('"1h30m"', 5400.0),
        ('"0"', 0.0),
        ('"-1m"', math.inf),
    ],
)
def test_keep_alive(value, seconds):
    assert asks.keep_alive_s(read(b'{"keep_alive":%s}' % value.encode())) == seconds


@pytest.mark.parametrize(
    ("options", "value"),
    [
        (b'{"num_ctx":8}', 8),
        (b'{"num_ctx":8.0}', 8),
        (b'{"num_ctx":-1}', None),
        (b'{"num_ctx":true}', None),
    ],
)
def test_option(options, value):
    assert asks.option(read(b'{"options":%s}' % options), "num_ctx") == value


def test_a_conversation_keeps_its_key_as_it_grows():
    opening = [{"role": "system", "content": "be brief"}, {"role": "user", "content": "hello"}]
    messages = read(b'{"messages":%s}' % json.dumps(opening).encode())["messages"]
    text, key = asks.conversation(messages)
    longer, same = asks.conversation([*messages, *messages])
    _, other = asks.conversation(messages[1:])
    assert text == "be brief\nhello"
    assert len(longer) > len(text)
    assert key == same != other
    assert asks.conversation(None) == ("", None)


def test_lengths_are_drawn_from_the_prompt():
    def length(prompt):
        return asks.generation("a", MODELS["a"], prompt, None, True, {}).work.output_tokens

    assert length("hello") == length("hello")
    assert len({length(f"hello {n}") for n in range(20)}) > 10
    assert all(20 <= length(f"hello {n}") < 220 for n in range(50))


def test_without_prompt():
    kinds = [asks.without_prompt("a", MODELS["a"], fields).work.kind for fields in ({}, {"keep_alive": 0})]
    assert kinds == [Task.PRELOAD, Task.UNLOAD]
