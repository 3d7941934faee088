from dataclasses import fields

import pytest

from spoe_agent.routing import Kind, RequestProblem
from spoe_agent.routing.facts import MAX_ECHO
from spoe_agent.routing.rights import Rights
from spoe_agent.routing.wishes import Wishes
from spoe_agent.routing.words import words_of
from tests.routing.builders import A, asks, counts

UNNAMED = asks(None, loads={"g0": counts(1)})


@pytest.mark.parametrize("name", ["a", " A:Latest ", "library/a"])
def test_a_name_becomes_its_key_and_is_kept_as_it_was_asked(name):
    facts = UNNAMED.naming(name)
    assert (facts.model, facts.asked, facts.problem) == (A, name, None)
    assert facts.loads == UNNAMED.loads


def test_all_else_that_is_known_stays():
    known = {
        "loads": {"g0": counts(1)},
        "servers": {"g0": counts(1)},
        "caller": "10.0.0.5",
        "body_bytes": 9,
        "num_ctx": 8192,
        "runner_options": "num_gpu=1",
        "only_loads": True,
        "embeds": True,
        "prefix": "p",
        "process": "1-a",
        "words": words_of("/api/embed"),
        "tried": ("g1",),
        "wishes": Wishes("g0"),
        "rights": Rights("a"),
        "trace": "00-a-b-01",
    }
    named = asks(None, Kind.DESCRIBE, "r7", **known).naming("a")
    assert named == asks(A, Kind.DESCRIBE, "r7", asked="a", **known)
    # `change` is not among them: what changes a store names its models there. `namesake` comes after the name.
    assert len(fields(named)) == len(known) + 9, "a new fact: see that `naming` keeps it"


def test_what_errors_repeat_of_a_name_is_bounded():
    name = f"{'h' * 250}/{'n' * 80}/{'m' * 80}"
    facts = UNNAMED.naming(f" {name} ")
    assert (facts.model, facts.asked) == (f"{name}:latest", f" {name}"[:MAX_ECHO])


@pytest.mark.parametrize(
    ("name", "detail"),
    [
        ("", "model is required"),
        (" \t", "model is required"),
        ("a b", "invalid model name"),
        ("a:", "invalid model name"),
    ],
)
def test_what_is_wrong_with_a_name(name, detail):
    facts = UNNAMED.naming(name)
    assert (facts.model, facts.problem, facts.detail) == (None, RequestProblem.BAD_NAME, detail)


def test_why_there_is_no_model():
    facts = UNNAMED.without_model(RequestProblem.UNREADABLE, "why")
    assert (facts.model, facts.problem, facts.detail, facts.loads) == (
        None,
        RequestProblem.UNREADABLE,
        "why",
        UNNAMED.loads,
    )
