"""The file: whole lines or none, put aside in order."""

import fcntl
import os
import resource
import stat
import threading
import time
from pathlib import Path

import pytest

from spoe_agent.decisions.file import append, aside, chain, put_aside


def test_lines_are_added_and_the_size_is_told(tmp_path):
    path = tmp_path / "d.jsonl"
    assert (append(path, b"one\n"), append(path, b"two\n")) == (4, 8)
    assert path.read_bytes() == b"one\ntwo\n"
    assert stat.S_IMODE(path.stat().st_mode) & ~0o640 == 0


def test_what_does_not_fit_leaves_nothing_of_itself(tmp_path):
    path = tmp_path / "d.jsonl"
    append(path, b"one\n")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    # A disk of ten bytes.
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, before[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            append(path, b"two and more\n")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert path.read_bytes() == b"one\n"
    with pytest.raises(OSError, match="directory"):
        append(tmp_path / "missing" / "d.jsonl", b"x")


def waits_for_a_lock():
    """Tell whether a thread of this process does."""
    lines = Path("/proc/locks").read_text().splitlines()
    return any("-> FLOCK" in line and f" {os.getpid()} " in line for line in lines)


def test_who_adds_waits_for_who_is_adding(tmp_path):
    # What does not fit is cut off again: not what another agent has added meanwhile.
    path = tmp_path / "d.jsonl"
    with path.open("wb") as theirs:
        fcntl.flock(theirs, fcntl.LOCK_EX)
        sizes = []
        ours = threading.Thread(target=lambda: sizes.append(append(path, b"ours\n")), daemon=True)
        ours.start()
        deadline_s = time.monotonic() + 20
        while not waits_for_a_lock():
            assert ours.is_alive() and time.monotonic() < deadline_s
            time.sleep(0.001)
        theirs.write(b"theirs\n")
    ours.join(20)
    assert (path.read_bytes(), sizes) == (b"theirs\nours\n", [12])


def test_files_are_put_aside_in_order_and_the_oldest_goes(tmp_path):
    path = tmp_path / "d.jsonl"
    for number in range(4):
        append(path, b"%d" % number)
        put_aside(path, keep=2)
    append(path, b"4")
    assert [one.read_bytes() for one in chain(path)] == [b"2", b"3", b"4"]
    assert [one.name for one in chain(path)] == ["d.jsonl.2", "d.jsonl.1", "d.jsonl"]
    assert not aside(path, 3).exists()


def test_files_are_found_where_some_are_missing_and_nobody_elses_are(tmp_path):
    path = tmp_path / "d[1].jsonl"
    names = ["", ".2", ".10", ".gz", ".1.gz", ".01", ".0"]
    for name in names:
        (tmp_path / f"{path.name}{name}").touch()
    (tmp_path / "d1.jsonl.3").touch()
    assert [one.name.removeprefix(path.name) for one in chain(path)] == [".10", ".2", ""]
    assert list(chain(tmp_path / "none" / "d.jsonl")) == []


def test_files_beyond_a_lowered_number_go(tmp_path):
    path = tmp_path / "d.jsonl"
    for number in range(6):
        append(path, b"%d" % number)
        put_aside(path, keep=5)
    append(path, b"6")
    put_aside(path, keep=2)
    assert [one.read_bytes() for one in chain(path)] == [b"5", b"6"]
