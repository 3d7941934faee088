"""Keys as lines of HAProxy's maps."""

from __future__ import annotations

import re

import pytest

from spoe_agent.haproxy.key_maps import KEYS_MAP, RIGHTS_MAP, key_lines, texts
from spoe_agent.keys.entry import Key

ALL = Key(name="all", hash="A" * 64)
SOME = Key(name="some", hash="B" * 64, models=("llama3.1:8b", "qwen*"), rpm=60)
SAME = Key(name="same", hash="C" * 64, models=("llama3.1:8b", "qwen*"))


def test_each_key_has_its_line_and_each_list_of_models_one() -> None:
    found = key_lines([ALL, SOME, SAME])
    assert list(found) == [RIGHTS_MAP, KEYS_MAP], "no key comes before its models"
    assert found[KEYS_MAP] == [(one.hash, one.line) for one in (ALL, SOME, SAME)]
    assert [value for _, value in found[RIGHTS_MAP]] == ["1"]
    assert key_lines([]) == {RIGHTS_MAP: [], KEYS_MAP: []}


@pytest.mark.parametrize(
    ("model", "may"),
    [
        ("llama3.1:8b", True),
        ("qwen3:latest", True),
        ("llama3x1:8b", False),
        ("llama3.1:8b-q4", False),
        ("xqwen:latest", False),
    ],
)
def test_a_list_is_a_regex_over_the_short_names_of_its_models(model: str, may: bool) -> None:
    ((regex, _),) = key_lines([SOME])[RIGHTS_MAP]
    assert bool(re.search(regex, f"{SOME.models_id}={model}")) is may
    assert not re.search(regex, f"{'0' * 16}={model}")


def test_files_have_a_line_of_what_they_are_and_then_the_maps_own() -> None:
    maps = key_lines([SOME])
    for name, text in texts(maps).items():
        head, *lines = text.splitlines()
        assert head.startswith("# ")
        assert [tuple(line.split(" ")) for line in lines] == maps[name]
