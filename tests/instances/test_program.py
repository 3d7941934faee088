"""Ollama's program and its versions."""

import pytest

from spoe_agent.instances.program import find, unfit, version


def script(folder, text):
    file = folder / "ollama"
    file.write_text(f"#!/bin/sh\n{text}\n")
    file.chmod(0o755)
    return str(file)


def test_it_is_found_on_a_path(tmp_path):
    assert find(str(tmp_path)) is None
    path = script(tmp_path, "")
    assert find(str(tmp_path)) == path


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("echo ollama version is 0.33.0", "0.33.0"),
        ("echo 'Warning: could not connect'; echo 'Warning: client version is 0.31.2-rc1' >&2", "0.31.2-rc1"),
        ("echo hello", "unknown"),
        ('test "$OLLAMA_HOST" = 127.0.0.1:1 && echo client version is 1.0', "1.0"),
    ],
)
def test_its_version_is_its_own_and_not_a_servers(tmp_path, said, expected):
    assert version(script(tmp_path, said)) == expected


@pytest.mark.parametrize(
    ("version", "is_old"),
    [("0.29.9", True), ("0.30.0", False), ("0.33.0-rc2", False), ("1.0", False), ("0.0.0", False), ("unknown", False)],
)
def test_which_are_too_old(version, is_old):
    assert unfit(version) == ("is too old: 0.30 is the first that works" if is_old else "")
