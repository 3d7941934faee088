import pytest
from pydantic import ValidationError

from spoe_agent.keys.entry import NOTHING, OPEN_LINE, Key, hash_of, new_secret, rights_of
from spoe_agent.routing.rights import Rights

HASH = hash_of("s")


@pytest.mark.parametrize(
    ("key", "line"),
    [
        (Key(name="a", hash=HASH), "a|0|0|0|-100|1|0||"),
        (Key(name="a", hash=HASH, manage=True, expires_s=17, rpm=5), "a|17|5|0|-100|1|1||"),
        (
            Key(name="a.b@c", hash=HASH, models=("x", "y*:[1-9]b"), priority=7, weight=2.5, concurrent=3),
            "a.b@c|0|0|3|7|2.5|0|{}|x,y*:[1-9]b",
        ),
    ],
)
def test_a_key_s_line_says_its_rights(key: Key, line: str) -> None:
    assert key.line == line.format(key.models_id)
    assert rights_of(key.line) == key.rights


def test_who_needs_no_key_uses_all_models_and_changes_none() -> None:
    assert rights_of(OPEN_LINE) == Rights(may_manage=False)


@pytest.mark.parametrize("line", ["", "a", "a|0|0|x|0|1|0||", "a|0|0|0|0|heavy|0||", "a|0|0|0|0|1|1||b|c"])
def test_a_line_that_cannot_be_read_gives_no_rights(line: str) -> None:
    assert rights_of(line) == NOTHING
    assert not NOTHING.may_use("a") and not NOTHING.may_manage


def test_lists_of_models_have_one_id_each() -> None:
    some, same, other = (Key(name=n, hash=HASH, models=m) for n, m in (("a", ("x",)), ("b", ("x",)), ("c", ("y",))))
    assert some.models_id == same.models_id != other.models_id


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "a|b"},
        {"name": "a b"},
        {"name": "10.0.0.1"},
        {"name": ""},
        {"hash": "s"},
        {"models": ()},
        {"models": ("a b",)},
        {"models": ("a|b",)},
        {"models": ("a,b",)},
        {"models": ("llama3:",)},
        {"models": ("hf.co/",)},
        {"models": ("x]",)},
        {"models": ("a//b",)},
        {"models": ("x",) * 51},
        {"priority": 101},
        {"priority": -101},
        {"weight": 0},
        {"weight": 1e-310},
        {"weight": float("inf")},
        {"rpm": -1},
        {"concurrent": -1},
        {"secret": "s"},
    ],
)
def test_what_no_line_could_say_is_no_key(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Key.model_validate({"name": "a", "hash": HASH} | wrong)


def test_secrets_are_256_bits_and_never_the_same() -> None:
    made = {new_secret() for _ in range(100)}
    assert len(made) == 100
    assert all(len(secret) == len("pm-") + 43 and secret.isascii() for secret in made)
