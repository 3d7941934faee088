from pathlib import Path

import pytest

from spoe_agent.keys.entry import Key, hash_of
from spoe_agent.keys.file import change
from spoe_agent.keys.keyring import Keyring, Lack

NOW_S = 1000.0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys.json"


def key(name: str, expires_s: int = 0) -> Key:
    return Key(name=name, hash=hash_of(f"secret of {name}"), expires_s=expires_s)


@pytest.mark.parametrize(
    ("secret", "found"),
    [
        ("secret of a", "a"),
        ("secret of later", "later"),
        ("secret of now", Lack.EXPIRED),
        ("secret of before", Lack.EXPIRED),
        ("secret of b", Lack.UNKNOWN),
        ("SECRET OF A", Lack.UNKNOWN),
        ("secret of a ", Lack.UNKNOWN),
        ("\udcff", Lack.UNKNOWN),
        ("", Lack.NONE),
    ],
)
def test_whose_a_secret_is(path: Path, secret: str, found: str | Lack) -> None:
    change(path, lambda _: (key("a"), key("before", 999), key("now", 1000), key("later", 1001)))
    checked = Keyring(path, lambda: NOW_S).check(secret)
    assert (checked.name if isinstance(checked, Key) else checked) == found


def test_it_follows_the_file_and_while_that_is_damaged_nobody_comes(path: Path) -> None:
    ring = Keyring(path, lambda: NOW_S)
    assert ring.check("secret of a") is Lack.UNKNOWN
    change(path, lambda keys: (*keys, key("a")))
    assert ring.check("secret of a") == key("a")
    path.write_text("{")
    assert ring.check("secret of a") is Lack.UNKNOWN
    change_back = (key("b"),)
    path.unlink()
    change(path, lambda _: change_back)
    assert ring.check("secret of a") is Lack.UNKNOWN
    assert ring.check("secret of b") == key("b")
