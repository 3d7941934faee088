# ruff: noqa: E501 - tables of what is written and what is answered, a case a line

from __future__ import annotations

import pytest

from spoe_agent.fleet import FleetError
from spoe_agent.fleet.document import read


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("0000:03:00.0", "0000:03:00.0"),  # YAML 1.1: 180.0
        ("12:30:45", "12:30:45"),  # YAML 1.1: 45045
        ("on", "on"),  # YAML 1.1: true
        ("2024-01-01", "2024-01-01"),  # YAML 1.1: a date
        ("010", 10),  # YAML 1.1: 8
        ("1_000", "1_000"),
        ("'5'", "5"),
        ("!!str 5", "5"),
        ("true", True),
        ("False", False),
        ("~", None),
        ("", None),
        ("null", None),
        ("-7", -7),
        ("2.5", 2.5),
        (".5", 0.5),
        ("1e3", 1000.0),
        ("[1, [2]]", [1, [2]]),
        ("{b: {c: 1}}", {"b": {"c": 1}}),
        ("&x [1]", [1]),
    ],
)
def test_scalars_are_read_as_in_yaml_1_2(written: str, value: object) -> None:
    source = read(f"a: {written}", "f")
    assert source.problems == []
    assert source.data == {"a": value}


def test_every_value_has_the_line_of_its_key() -> None:
    source = read("a:\n  - b: 1\n    c:\n      - 2\n  -\n    b: 3\nd: 4\n", "f")
    assert source.lines == {
        (): 1,
        ("a",): 1,
        ("a", 0): 2,
        ("a", 0, "b"): 2,
        ("a", 0, "c"): 3,
        ("a", 0, "c", 0): 4,
        ("a", 1): 6,
        ("a", 1, "b"): 6,
        ("d",): 7,
    }
    assert source.known(("a", 0, "x", "y")) == ("a", 0)
    assert source.line(("a", 1, "missing")) == 6


def test_an_alias_is_the_value_it_stands_for() -> None:
    assert read("a: &x {b: [1]}\nc: *x", "f").data == {"a": {"b": [1]}, "c": {"b": [1]}}


@pytest.mark.parametrize(
    ("text", "merged"),
    [
        ("{<<: *a, y: 9}", {"x": 1, "y": 9}),
        ("{y: 9, <<: *a}", {"x": 1, "y": 9}),
        ("{<<: [*b, *a]}", {"x": 1, "y": 3, "z": 4}),
        ("{<<: *a, <<: *b}", {"x": 1, "y": 2, "z": 4}),
        ("{<<: *c}", {"x": 1, "y": 2, "w": 5}),
        ("{<<: {v: 6}}", {"v": 6}),
        ("{'<<': 7}", {"<<": 7}),
    ],
)
def test_a_mapping_takes_over_the_keys_of_others(text: str, merged: dict[str, int]) -> None:
    """As yaml.org/type/merge.html has it: own keys win, then the mappings that are named first."""
    known = "a: &a {x: 1, y: 2}\nb: &b {y: 3, z: 4}\nc: &c {<<: *a, w: 5}\n"
    source = read(f"{known}d: {text}", "f")
    assert (source.data["d"], source.problems) == (merged, [])


def test_a_key_that_was_taken_over_is_known_by_the_line_on_which_it_stands() -> None:
    assert read("a: &a\n  x: 1\nb:\n  <<: *a\n", "f").line(("b", "x")) == 2


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: 1\nb: 2\na: 3", "f:3: a: is here twice, first on line 1; keep one of them"),
        ("a: !x 5", "f:1: a: has the tag '!x'; remove the tag"),
        (
            "a: !!python/object:os.system {}",
            "f:1: a: has the tag 'tag:yaml.org,2002:python/object:os.system'; remove the tag",
        ),
        ("a: !!int x", "f:1: a: 'x' does not fit its tag; remove the tag"),
        ("a: " + "9" * 5000, f"f:1: a: '{'9' * 56}... does not fit its tag; remove the tag"),
        ("a: &x\n - *x", "f:1: a[0]: contains itself; write the value out instead of the alias (*name)"),
        ("a: &a {b: 1, <<: *a}", "f:1: a.<<: contains itself; write the alias of another mapping (*name)"),
        ("a:\n  <<: [{b: 1}, 5]", "f:2: a.<<: is no mapping; write the alias of another mapping (*name)"),
        ("a: 1\n? [b]\n: 2", "f:2: has a key that is not a word; write key: value"),
        (r'a: "\uD800"', "f:1: a: has half a surrogate pair, which is no character; write the character itself"),
    ],
)
def test_what_is_wrong_in_one_value_is_noted_and_reading_goes_on(text: str, problem: str) -> None:
    source = read(text + "\nlast: 1", "f")
    assert [str(noted) for noted in source.problems] == [problem]
    assert source.data["last"] == 1


BOMB = "a: &a [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{new}: &{new} [{','.join([f'*{old}'] * 10)}]\n" for old, new in zip("abcdefg", "bcdefgh", strict=True)
)
MERGES = "a: &a {x: 1}\n" + "".join(
    f"{new}: &{new} {{<<: [{','.join([f'*{old}'] * 10)}]}}\n" for old, new in zip("abcdefg", "bcdefgh", strict=True)
)


DEEP_BY_ALIASES = "k0: &k0 1\n" + "".join(f"k{n}: &k{n} {'[' * 90}*k{n - 1}{']' * 90}\n" for n in range(1, 30))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (DEEP_BY_ALIASES, "f: is nested too deeply"),
        ("", "f: is empty; write at least one entry under instances"),
        ("# only a comment\n", "f: is empty; write at least one entry under instances"),
        ("~", "f: is empty; write at least one entry under instances"),
        ("\n- a", "f:2: is not a mapping of keys; begin with instances:"),
        ("text", "f:1: is not a mapping of keys; begin with instances:"),
        ("a: 1\nb: c: 2", "f:2: not valid YAML: mapping values are not allowed here; look at column 5"),
        (
            "a: 1\n\tb: 2",
            "f:2: not valid YAML: while scanning for the next token, found character '\\t' that cannot start any token; look at column 1",
        ),
        (
            "a: 1\n---\nb: 2",
            "f:2: not valid YAML: expected a single document in the stream, but found another document; look at column 1",
        ),
        ("a: *b", "f:1: not valid YAML: found undefined alias 'b'; look at column 4"),
        (
            "a: 1\nb: \x01",
            "f:2: not valid YAML: character U+0001 is not allowed; remove it, or write it as an escape in double quotes",
        ),
        ("a: " + "[" * 5000, "f: is nested too deeply"),
        (BOMB, "f: has more than 20000 values; use fewer aliases (*name)"),
        (MERGES, "f: has more than 20000 values; use fewer aliases (*name)"),
        ("a" * 1_048_577, "f: is longer than 1048576 characters; is it the file that you meant?"),
    ],
)
def test_what_cannot_be_read_at_all(text: str, problem: str) -> None:
    with pytest.raises(FleetError) as caught:
        read(text, "f")
    assert str(caught.value) == problem


def test_an_escape_beyond_unicode_is_no_crash() -> None:
    with pytest.raises(FleetError, match=r"^f: not valid YAML: .*; look at the escapes in double quotes$"):
        read(r'a: "\UFFFFFFFF"', "f")
