"""Finding HAProxy, and its files for a fleet."""

import pytest

from spoe_agent.fleet import loads
from spoe_agent.haproxy.render import haproxy_files
from spoe_agent.rig.haproxy import find_haproxy, front_is_ready, haproxy, version
from spoe_agent.rig.process import RigError, free_port
from spoe_agent.written import LIST


def program(folder, text, name="haproxy"):
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def fleet():
    front = f"127.0.0.1:{free_port()}"
    return loads(f"listeners: {{front: '{front}'}}\ninstances: [{{name: g0, url: 'http://127.0.0.1:1'}}]")


def test_the_one_that_is_named_is_taken(tmp_path, monkeypatch):
    named = program(tmp_path, "", "mine")
    monkeypatch.setenv("HAPROXY", named)
    assert find_haproxy() == named


def test_the_one_on_the_path_is_taken(tmp_path, monkeypatch):
    monkeypatch.delenv("HAPROXY", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_haproxy_or_none() != str(tmp_path / "haproxy")
    found = program(tmp_path, "")
    assert find_haproxy() == found


def find_haproxy_or_none():
    try:
        return find_haproxy()
    except RigError as error:
        assert "apt-get install haproxy" in str(error)
        return None


def test_one_that_is_named_and_missing_is_said(tmp_path, monkeypatch):
    monkeypatch.setenv("HAPROXY", str(tmp_path / "none"))
    with pytest.raises(RigError, match=r"\$HAPROXY is .*/none, which is not a program"):
        find_haproxy()


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("HAProxy version 2.6.12-1+deb12u4 2026/10/17 - https://haproxy.org/", "2.6.12"),
        ("HAProxy version 3.3-dev5 2026/01/01", "3.3"),
        ("something else", "unknown"),
    ],
)
def test_version(tmp_path, said, expected):
    assert version(program(tmp_path, f"echo '{said}'")) == expected


def test_a_program_that_does_not_run_is_named(tmp_path):
    with pytest.raises(RigError, match=r"cannot run .*/haproxy"):
        version(program(tmp_path, "exit 1"))
    with pytest.raises(RigError, match="cannot run /nonexistent"):
        version("/nonexistent")


async def test_its_files_are_written_and_it_is_started_with_them(tmp_path):
    of = fleet()
    async with haproxy(program(tmp_path, 'echo "$@"', "mine"), of, tmp_path) as process:
        assert await process.wait() == 0
    folder = tmp_path / "haproxy"
    assert process.tail() == f"-db -f {tmp_path / 'sockets.cfg'} -f {folder / 'haproxy.cfg'}"
    found = {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*.*")}
    assert found.pop(LIST) and found == haproxy_files(of)


async def test_nobody_at_the_front_is_not_ready():
    assert not await front_is_ready(fleet())
