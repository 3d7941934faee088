"""Rendered files in their folder."""

import hashlib
import shutil
import subprocess

import pytest

from spoe_agent.written import LIST, changed, differences, edited, left, replace, write

TEXTS = {"a.cfg": "one\n", "below/b.json": "{}"}


def test_what_is_written_is_listed_as_sha256sum_reads_it(tmp_path):
    write(TEXTS, tmp_path)
    assert {name: (tmp_path / name).read_text() for name in TEXTS} == TEXTS
    assert f"{hashlib.sha256(b'{}').hexdigest()}  below/b.json\n" in (tmp_path / LIST).read_text()
    if shutil.which("sha256sum"):
        subprocess.run(["sha256sum", "-c", "--strict", LIST], cwd=tmp_path, check=True, timeout=30)


CASES = {
    # how a.cfg is found, whether another text is due -> whether that is somebody's edit
    "as it was written": ("one\n", False, False),
    "as it was written, another is due": ("one\n", True, False),
    "edited": ("mine\n", False, True),
    "edited, another is due": ("mine\n", True, True),
    "as it is due": ("two\n", True, False),
    "no text": (b"\xff\xfe", False, True),
    "gone": (None, True, False),
}


@pytest.mark.parametrize(("found", "is_other", "expected"), CASES.values(), ids=CASES)
def test_an_edit_is_neither_what_was_written_nor_what_is_due(tmp_path, found, is_other, expected):
    write(TEXTS, tmp_path)
    path = tmp_path / "a.cfg"
    path.unlink()
    if found is not None:
        path.write_bytes(found if isinstance(found, bytes) else found.encode())
    due = TEXTS | ({"a.cfg": "two\n"} if is_other else {})
    assert edited(due, tmp_path) == (["a.cfg"] if expected else [])


def test_a_file_of_others_is_an_edit(tmp_path):
    (tmp_path / "a.cfg").write_text("theirs\n")
    assert edited(TEXTS, tmp_path) == ["a.cfg"]


def test_files_of_two_renderings_in_one_folder_are_told_apart(tmp_path):
    write(TEXTS, tmp_path)
    write({"c": "3"}, tmp_path)
    assert edited(dict.fromkeys([*TEXTS, "c"], "another"), tmp_path) == []


def test_differences_are_shown(tmp_path):
    write(TEXTS, tmp_path)
    assert differences(TEXTS, tmp_path) == ""
    shown = differences({"a.cfg": "two\n", "new": "3"}, tmp_path)
    assert "-one\n+two\n" in shown and "--- /dev/null\n+++ new\n" in shown and shown.endswith("+3\n")


def test_whoever_has_a_file_open_keeps_what_was_there_and_nothing_is_left_beside(tmp_path):
    path = tmp_path / "a"
    path.write_text("before")
    path.chmod(0o640)
    with path.open() as reader:
        replace(path, "after")
        assert (reader.read(), path.read_text()) == ("before", "after")
    assert (path.stat().st_mode & 0o777, list(tmp_path.iterdir())) == (0o640, [path])


def test_what_is_to_be_otherwise_and_what_was_left(tmp_path):
    assert (changed(TEXTS, tmp_path), left(TEXTS, tmp_path)) == ([], [])
    write(TEXTS, tmp_path)
    assert (changed(TEXTS, tmp_path), left(TEXTS, tmp_path)) == ([], [])
    due = {"a.cfg": "two\n", "new": ""}
    assert (changed(due, tmp_path), left(due, tmp_path)) == (["a.cfg"], ["below/b.json"])
    (tmp_path / "below" / "b.json").unlink()
    assert left(due, tmp_path) == []
