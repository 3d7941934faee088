import re

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from spoe_agent.fleet import loads
from spoe_agent.haproxy.render import haproxy_files
from spoe_agent.requests.body import BodyError, parsed
from spoe_agent.requests.glimpse import (
    ESCAPE,
    HEAD_BYTES,
    MARGIN_BYTES,
    Glimpse,
    NeedsWhole,
    TooLarge,
    model_of,
)
from spoe_agent.requests.hints import beginning
from tests.requests.hostile import HOSTILE, LARGE
from tests.requests.reference import ollamas_model
from tests.requests.test_body import FILE_PART, FORM, MODEL_PART, form
from tests.requests.test_scan import written

CONFIG = haproxy_files(loads('instances: [{name: g0, url: "http://h:1"}]'))["haproxy.cfg"]
(BEHIND, LOOKED_THROUGH) = re.search(r"pm_tail\) 'req\.body,bytes\((\d+)\),(.*)' if", CONFIG).groups()
# Within quotes of HAProxy's, two backslashes are one.
STEPS = [
    (re.compile(pattern.replace(r"\\", "\\").encode()), put.encode())
    for pattern, put in re.findall(r'regsub\("([^"]*)","([^"]*)"\)', LOOKED_THROUGH)
]


def test_haproxy_looks_for_a_key_written_both_ways_and_keeps_the_end():
    assert (int(BEHIND), len(STEPS)) == (HEAD_BYTES - MARGIN_BYTES, 3)
    assert STEPS[1][0].pattern.startswith(b"(?is)" + ESCAPE.pattern.replace(b"C-F", b""))


def glimpse(body, content_type="", encoding="", is_within=True):
    """What haproxy.cfg sends of a body. (Its regexes take a zero byte for the end.)"""
    tail = b""
    if is_within and len(body) > HEAD_BYTES:
        tail = body[int(BEHIND) :].partition(b"\0")[0]
        for pattern, put in STEPS:
            tail = pattern.sub(put, tail, count=1)
    return Glimpse(body[:HEAD_BYTES], tail, len(body), is_within, content_type, encoding)


def outcome(seen, *args):
    """What is made of it; without more words with the head as the bridge parses it."""
    args = args or (beginning(seen.head) if seen.size > len(seen.head) else None,)
    try:
        return model_of(seen, *args)
    except (BodyError, NeedsWhole, TooLarge) as error:
        return type(error)


@pytest.mark.parametrize("body", HOSTILE.values(), ids=HOSTILE)
def test_hostile_bodies_are_read_as_ollama_reads_them_or_not_at_all(body):
    expected = ollamas_model(body)
    found = outcome(glimpse(body))
    if expected:
        assert found in (expected, NeedsWhole)
        assert outcome(glimpse(body), None) in (expected, NeedsWhole)
    if len(body) <= HEAD_BYTES:
        assert outcome(glimpse(body), parsed(body)) == found
        assert found is not NeedsWhole


ENOUGH = {
    "last",
    "first",
    "last, and in a tool behind it",
    "behind the end, far",
    "behind a zero",
    "a text astride the beginning of the end",
    "of a size with both parts",
    "of a size with both parts, first",
    "no end, large",
}


@pytest.mark.parametrize("name", LARGE)
def test_ordinary_large_bodies_are_not_sent_whole(name):
    """Where two models are named far apart, or one in the middle, only the whole tells which counts."""
    assert (outcome(glimpse(LARGE[name])) is not NeedsWhole) == (name in ENOUGH)


models = st.tuples(st.sampled_from(["model", "model", "Model"]), st.sampled_from(["alpha", "beta", None]))
fillers = st.builds(str.__mul__, st.sampled_from(["x", '"model":', "\\"]), st.integers(0, 30_000))
others = st.tuples(st.just("x"), fillers | st.lists(models, max_size=2).map(tuple) | st.lists(fillers, max_size=2))
behind = st.sampled_from(["", "\n", ',"model":"alpha"}', "}" * 20_000 + '"model":"alpha"}'])


@st.composite
def large_objects(draw):
    """Objects with members named `model` on two levels, texts of some ten thousand bytes, and something behind."""
    return (written(tuple(draw(st.lists(models | others, max_size=7))), draw) + draw(behind)).encode()


@settings(max_examples=200)
@given(large_objects())
def test_any_object_is_read_as_ollama_reads_it_or_not_at_all(body):
    expected = ollamas_model(body)
    if expected:
        assert outcome(glimpse(body)) in (expected, NeedsWhole)
        assert outcome(glimpse(body), None) in (expected, NeedsWhole)


FILE = (FILE_PART[0], "RIFF" + "\x00\x01" * 20_000)
OF_PARTS = {
    "form, model first": (glimpse(form(MODEL_PART, FILE), FORM), "whisper"),
    "form, model last": (glimpse(form(FILE, MODEL_PART), FORM), NeedsWhole),
    "form, model last, small": (glimpse(form(FILE_PART, MODEL_PART), FORM), "whisper"),
    "form, cut in the model": (glimpse(form((MODEL_PART[0], "x" * 17_000)), FORM), NeedsWhole),
    "form without a model, small": (glimpse(form(FILE_PART), FORM), BodyError),
    "form, too large, model first": (glimpse(form(MODEL_PART, FILE), FORM, is_within=False), "whisper"),
    "form, too large": (glimpse(form(FILE, MODEL_PART), FORM, is_within=False), TooLarge),
    "packed, small": (glimpse(zstandard.compress(b'{"model":"m"}'), encoding="zstd"), NeedsWhole),
    "packed, large": (glimpse(b"\x28\xb5\x2f\xfd" * 9_000, encoding="zstd"), NeedsWhole),
    "packed, too large": (glimpse(b"\x28\xb5\x2f\xfd" * 9_000, encoding="zstd", is_within=False), TooLarge),
    "too large, model first": (glimpse(LARGE["first"], is_within=False), "beta"),
    "too large, model last": (glimpse(LARGE["last"], is_within=False), TooLarge),
    "too large, no object": (glimpse(b"[" + LARGE["last"], is_within=False), BodyError),
    "no body": (glimpse(b""), BodyError),
    "no end part": (Glimpse(LARGE["first"][:HEAD_BYTES], b"", len(LARGE["first"]), True), NeedsWhole),
}


@pytest.mark.parametrize(("seen", "expected"), OF_PARTS.values(), ids=OF_PARTS)
def test_what_parts_show(seen, expected):
    assert outcome(seen) == expected


@given(st.binary(max_size=60), st.binary(max_size=60), st.integers(0, 200), st.booleans())
def test_any_parts_have_an_outcome(head, tail, size, is_within):
    assert isinstance(outcome(Glimpse(b"{" + head, tail, size, is_within)), str | type)
