"""Bodies read as Go reads them."""

from __future__ import annotations

import re

import pytest

from spoe_agent.simulator.errors import BadBody
from spoe_agent.simulator.go_json import decode, duration_s, fold
from spoe_agent.simulator.go_structs import STRUCTS

CHAT = STRUCTS["/api/chat"]
FIELD = "json: cannot unmarshal {} into Go struct field ChatRequest.{} of type {}"


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"model":"a"}', {"model": "a"}),
        (b'{"MODEL":"a"}', {"model": "a"}),
        (b'{"model":"a","Model":"b"}', {"model": "b"}),
        (b'{"Model":"b","model":"a","mOdel":"c"}', {"model": "c"}),
        (b'{"Model":"b","model":"a","Model":"c"}', {"model": "c"}),
        (b'{"model":"a","model":null}', {"model": "a"}),
        (b'{"model":null}', {}),
        (b"null", {}),
        (b' \n{"model":"a"} {"model":"b"} rubbish', {"model": "a"}),
        (b'{"options":{"Num_Ctx":1}}', {"options": {"Num_Ctx": 1}}),
        (b'{"model":"\xff"}', {"model": "\ufffd"}),
    ],
)
def test_decode(body, expected):
    assert decode(body, CHAT, "EOF") == expected


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"", "EOF"),
        (b"  \n", "EOF"),
        (b'{"model":', "unexpected EOF"),
        (b"nonsense", "invalid character 'n' looking for beginning of value"),
        (b"[1]", "json: cannot unmarshal array into Go value of type api.ChatRequest"),
        (b'{"temperature":NaN}', "invalid character 'N' looking for beginning of value"),
        (b'{"model":7,"model":"a"}', FIELD.format("number", "model", "string")),
        (b'{"MODEL":true}', FIELD.format("bool", "model", "string")),
        (b'{"messages":{}}', FIELD.format("object", "messages", "[]api.Message")),
        (b'{"stream":1,"model":7}', FIELD.format("number", "stream", "bool")),
        (b'{"top_logprobs":1.5}', FIELD.format("number 1.5", "top_logprobs", "int")),
        (b'{"options":[]}', FIELD.format("array", "options", "map[string]interface {}")),
        (b'{"stream":1,"model":', "unexpected EOF"),
        (b'{"keep_alive":true}', "Unsupported type: 'bool'"),
        (b'{"think":1}', 'think must be a boolean or string ("high", "medium", "low", "max", true, or false)'),
        (b'"text"', "json: cannot unmarshal string into Go value of type api.ChatRequest"),
        (b"true", "json: cannot unmarshal bool into Go value of type api.ChatRequest"),
        (b"7", "json: cannot unmarshal number into Go value of type api.ChatRequest"),
    ],
)
def test_refusals(body, text):
    with pytest.raises(BadBody) as caught:
        decode(body, CHAT, "EOF")
    assert (caught.value.status, caught.value.text) == (400, text)


@pytest.mark.parametrize(
    ("text", "seconds"), [("5m", 300.0), ("1h30m", 5400.0), ("0", 0.0), ("-1.5s", -1.5), ("+.5s", 0.5), ("2ms", 0.002)]
)
def test_duration(text, seconds):
    assert duration_s(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", 'time: invalid duration ""'),
        ("soon", 'time: invalid duration "soon"'),
        ("5", 'time: missing unit in duration "5"'),
        ("5 m", 'time: unknown unit " m" in duration "5 m"'),
        ("1h5", 'time: missing unit in duration "1h5"'),
    ],
)
def test_no_duration(text, told):
    with pytest.raises(BadBody, match="^" + re.escape(told) + "$"):
        duration_s(text)


def test_nested_structs_fold_when_asked():
    message = decode(b'{"messages":[{"Role":"user","Content":"x"}]}', CHAT, "EOF")["messages"][0]
    assert fold(message) == {"role": "user", "content": "x"}
    assert fold("text") == {}
