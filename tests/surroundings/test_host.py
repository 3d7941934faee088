"""Clocks, sockets, open files: real sockets and processes."""

import os
import resource
import shutil
import socket
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest

from spoe_agent.haproxy.running import HAProxyProcess
from spoe_agent.surroundings.host import clocks, many_files, unix_sockets
from tests.surroundings.seeing import fleet, notes, seen, wrongs

OTHER = 54321
"""A user that nobody is."""


@pytest.fixture
def folder():
    """One that every user may pass."""
    made = Path(tempfile.mkdtemp(prefix="pm-"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


def listens(path, seen_as=None):
    haproxy = {"haproxy": {"spop": f"unix@{seen_as}"}} if seen_as else {}
    return fleet({}, listeners={"spop": f"unix@{path}"}, **haproxy)


@contextmanager
def agent(path, mode=0o660):
    path.parent.mkdir(parents=True, exist_ok=True)
    with socket.socket(socket.AF_UNIX) as held:
        held.bind(str(path))
        path.chmod(mode)
        yield


def test_clocks():
    found = clocks(seen(fleet({}, {}, {}), {"ahead_s": 90.0}, {"ahead_s": -1.0}, {"ahead_s": None}))
    assert wrongs(found) == ["g0: the clock of 127.0.0.1 is 90 s ahead of this host's"]
    (text,) = wrongs(clocks(seen(fleet({}), {"ahead_s": -30.0})))
    assert "30 s behind" in text


@pytest.mark.parametrize(("user", "mode", "may"), [(0, 0o600, True), (OTHER, 0o660, False), (OTHER, 0o666, True)])
def test_haproxys_user_may_connect(folder, user, mode, may):
    path = folder / "run" / "spop.sock"
    with agent(path, mode):
        found = list(unix_sockets(seen(listens(path), haproxies=(HAProxyProcess(7, user, frozenset(), "/"),))))
    assert bool(wrongs(found)) != may
    assert may or f"HAProxy (process 7), user {OTHER}, may not connect to {path}" in wrongs(found)


def test_its_group_may(folder):
    path = folder / "spop.sock"
    group = os.stat(folder).st_gid
    with agent(path):
        found = unix_sockets(seen(listens(path), haproxies=(HAProxyProcess(7, OTHER, frozenset({group}), "/"),)))
        assert not wrongs(found)


def test_a_folder_that_may_not_be_passed(folder):
    path = folder / "run" / "spop.sock"
    with agent(path, 0o666):
        path.parent.chmod(0o700)
        assert wrongs(unix_sockets(seen(listens(path), haproxies=(HAProxyProcess(7, OTHER, frozenset(), "/"),))))


def test_a_chroot_hides_what_is_outside_of_it(folder):
    jail = HAProxyProcess(7, 0, frozenset(), str(folder / "jail"))
    with agent(folder / "spop.sock"):
        (text,) = wrongs(unix_sockets(seen(listens(folder / "spop.sock"), haproxies=(jail,))))
    assert text.startswith(f"HAProxy (process 7) looks for the agent at {folder}/jail{folder}/spop.sock")
    path = folder / "jail" / "spop.sock"
    with agent(path):
        assert not wrongs(unix_sockets(seen(listens(path, "/spop.sock"), haproxies=(jail,))))


def test_what_cannot_be_seen_of_sockets(folder):
    path = folder / "spop.sock"
    here = HAProxyProcess(7, 0, frozenset(), "/")
    assert notes(unix_sockets(seen(listens(path)))) == [
        "HAProxy does not run: whether it reaches the agent's socket could not be seen"
    ]
    assert "is not there: does the agent run?" in notes(unix_sockets(seen(listens(path), haproxies=(here,))))[0]
    hidden = HAProxyProcess(7, OTHER, frozenset())
    assert "in which chroot" in notes(unix_sockets(seen(listens(path), haproxies=(hidden,))))[0]
    assert not list(unix_sockets(seen(fleet({}), haproxies=(here,))))


def test_open_files():
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    limit = "import resource, sys; resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64)); print(flush=True)"
    limit += "; sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-I", "-c", limit], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as running:
        running.stdout.readline()
        found = wrongs(
            many_files(seen(fleet({}), {"open_files": 256}, haproxies=(HAProxyProcess(running.pid, 0, frozenset()),)))
        )
        running.stdin.close()
    assert found == [
        f"HAProxy (process {running.pid}) may have 64 files open, and needs up to 1036",
        "g0's Ollama may have 256 files open, and needs up to 1024",
    ]
    few = HAProxyProcess(os.getpid(), 0, frozenset())
    assert most < 1036 or not list(many_files(seen(fleet({}), {"open_files": 65536}, haproxies=(few,))))
