from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from spoe_agent.fleet import FleetError
from spoe_agent.keys.entry import Key, hash_of
from spoe_agent.keys.file import Keys, change, read


def key(name: str) -> Key:
    return Key(name=name, hash=hash_of(name), models=("a", "b*"), rpm=3)


def test_what_was_written_is_read_and_nobody_else_may(tmp_path: Path) -> None:
    path = tmp_path / "new" / "keys.json"
    assert read(path) == ()
    change(path, lambda keys: (*keys, key("a")))
    change(path, lambda keys: (*keys, key("b")))
    assert read(path) == (key("a"), key("b"))
    assert path.stat().st_mode & 0o777 == 0o640
    path.chmod(0o600)
    change(path, lambda keys: keys[1:])
    assert read(path) == (key("b"),)
    assert path.stat().st_mode & 0o777 == 0o600
    assert [one.name for one in path.parent.iterdir()] == ["keys.json"]


def test_the_secret_is_not_in_it(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    change(path, lambda _: (Key(name="a", hash=hash_of("pm-secret")),))
    assert "pm-secret" not in path.read_text()


def test_of_many_who_write_at_once_nobody_s_key_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"

    def add(name: str) -> Keys:
        return change(path, lambda keys: (*keys, key(name)))

    names = [f"k{number}" for number in range(40)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(add, names))
    assert sorted(one.name for one in read(path)) == sorted(names)


def test_what_goes_wrong_in_an_edit_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    change(path, lambda _: (key("a"),))

    def fails(_: Keys) -> Keys:
        raise KeyError("b")

    with pytest.raises(KeyError):
        change(path, fails)
    assert read(path) == (key("a"),)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is damaged at its beginning"),
        ('{"keys": [{"name": "a"}]}', "is damaged at keys.0.hash: Field required"),
        ('{"keys": [], "more": 1}', "is damaged at more"),
    ],
)
def test_a_damaged_file_is_told_without_what_is_in_it(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "keys.json"
    path.write_text(text)
    with pytest.raises(FleetError) as told:
        read(path)
    assert f"{path}: {said}" in str(told.value)
