import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from spoe_agent.requests.body import BodyError, read_model
from spoe_agent.requests.scan import WINDOW_BYTES, Scan
from tests.requests.hostile import HOSTILE
from tests.requests.reference import ollamas_model


@pytest.mark.parametrize("body", HOSTILE.values(), ids=HOSTILE)
def test_hostile_bodies_are_read_as_ollama_reads_them(body):
    expected = ollamas_model(body)
    if expected:
        assert read_model(body) == expected
        assert Scan(body).run().value == expected


keys = st.sampled_from(["model", "Model", "MODEL", "models", "name", "x", 'x"model', "model ", ""])
names = st.sampled_from(["alpha", "beta", "", "a/b", "ü", '"model":"gamma"', "\\", "}"])
values = st.recursive(
    names | st.none() | st.integers(-9, 9),
    lambda inner: st.lists(inner, max_size=3) | st.lists(st.tuples(keys, inner), max_size=3).map(tuple),
    max_leaves=8,
)
members = st.lists(st.tuples(keys, values), max_size=6)


def written(value, draw):
    """Write JSON as a client might: with escapes and white space where they are allowed."""
    space = draw(st.sampled_from(["", "", " ", "\n\t"]))
    if isinstance(value, str):
        text = json.dumps(value, ensure_ascii=draw(st.booleans()))[1:-1]
        if text[:1].isalpha() and draw(st.integers(0, 3)) == 0:
            text = f"\\u{ord(text[0]):04x}" + text[1:]
        return f'{space}"{text}"'
    if isinstance(value, list):
        return f"{space}[{','.join(written(item, draw) for item in value)}{space}]"
    if isinstance(value, tuple):
        inner = ",".join(f"{written(key, draw)}{space}:{written(item, draw)}" for key, item in value)
        return f"{space}{{{inner}{space}}}"
    return space + json.dumps(value)


@st.composite
def objects(draw):
    """Objects with members named `model` on every level, and perhaps something behind them."""
    text = written(tuple(draw(members)), draw)
    return (text + draw(st.sampled_from(["", "\n", " junk", ',"model":"alpha"}', "{}"]))).encode()


@given(objects())
@example(b'{"a":"\\\\","model":"beta"}')
def test_any_object_is_read_as_ollama_reads_it(body):
    expected = ollamas_model(body)
    found = Scan(body).run()
    assert found.is_closed
    if expected is None:
        assert found.is_mistyped
    else:
        assert (found.value, found.is_mistyped) == (expected, False)


@given(objects(), st.integers(2, 40))
def test_the_size_of_windows_does_not_matter(body, size):
    whole = Scan(body).run()
    pieces = Scan(body, window_bytes=size).run()
    for name in ("value", "is_mistyped", "is_broken", "is_object", "is_closed", "is_cut"):
        assert getattr(pieces, name) == getattr(whole, name)


@given(objects(), st.integers(0, 200))
def test_of_a_beginning_nothing_is_said_that_the_rest_could_take_back(body, length):
    cut = Scan(body[:length]).run()
    if cut.is_closed:
        assert cut.value == Scan(body).run().value


@given(st.binary(max_size=100) | st.lists(st.sampled_from(list('{}[]":,\\u006dmodel \n01')), max_size=60).map("".join))
def test_nothing_else_comes_of_any_bytes(body):
    raw = body if isinstance(body, bytes) else body.encode()
    for text in (raw, b"{" + raw):
        found = Scan(text).run()
        expected = ollamas_model(text)
        if expected:
            assert found.value == expected


LENGTHY = {
    "nested": b'{"a":' + b"[" * 60_000 + b"]" * 60_000 + b',"model":"beta"}',
    "keys": b'{"a":[' + b'{"model":1},' * 40_000 + b'0],"model":"beta"}',
    "one text": b'{"a":"' + b"\\\\" * 300_000 + b'","model":"beta"}',
    "a name": b'{"model":"' + b"a" * 500_000 + b'"}',
}


@pytest.mark.parametrize("body", LENGTHY.values(), ids=LENGTHY)
def test_long_bodies_are_read_in_many_steps(body):
    found = Scan(body)
    steps = sum(1 for _ in found.windows())
    assert steps >= len(body) // WINDOW_BYTES
    assert found.is_closed
    assert found.value[:4] in ("beta", "aaaa")


@pytest.mark.parametrize("tail", ["", "{"])
def test_what_has_no_end_is_no_json(tail):
    with pytest.raises(BodyError, match="the object does not end"):
        read_model(b'{"model":"alpha","x":"' + b"x" * 70_000 + b'"' + tail.encode())
