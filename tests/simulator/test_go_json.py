"""Bodies read as Go reads them."""

from __future__ import annotations

import pytest

from spoe_agent.simulator.errors import OllamaError
from spoe_agent.simulator.go_json import decode, fold


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"model":"a"}', {"model": "a"}),
        (b'{"MODEL":"a"}', {"model": "a"}),
        (b'{"model":"a","Model":"b"}', {"model": "b"}),
        (b'{"Model":"b","model":"a","mOdel":"c"}', {"model": "c"}),
        (b'{"Model":"b","model":"a","Model":"c"}', {"model": "c"}),
        (b'{"model":"a","model":null}', {"model": "a"}),
        (b'{"model":null}', {"model": None}),
        (b'{"model":7,"model":"a"}', {"model": 7}),
        (b' \n{"model":"a"} {"model":"b"} rubbish', {"model": "a"}),
        (b'{"options":{"Num_Ctx":1}}', {"options": {"Num_Ctx": 1}}),
        (b'{"model":"\xff"}', {"model": "\ufffd"}),
    ],
)
def test_decode(body, expected):
    assert decode(body) == expected


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"", "missing request body"),
        (b"  \n", "missing request body"),
        (b'{"model":', "unexpected EOF"),
        (b"nonsense", "invalid character 'n' looking for beginning of value"),
        (b"[1]", "json: cannot unmarshal array into Go value of type api.Request"),
        (b'{"temperature":NaN}', "invalid character '{' looking for beginning of value"),
        (b'"text"', "json: cannot unmarshal string into Go value of type api.Request"),
        (b"true", "json: cannot unmarshal bool into Go value of type api.Request"),
        (b"7", "json: cannot unmarshal number into Go value of type api.Request"),
    ],
)
def test_refusals(body, text):
    with pytest.raises(OllamaError) as caught:
        decode(body)
    assert (caught.value.status, caught.value.text) == (400, text)


def test_nested_structs_fold_when_asked():
    message = decode(b'{"messages":[{"Role":"user","Content":"x"}]}')["messages"][0]
    assert fold(message) == {"role": "user", "content": "x"}
    assert fold("text") == {}
