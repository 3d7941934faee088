"""HAProxy's processes as they are found: real ones of that name."""

import os
import subprocess
import sys

import psutil
import pytest

from spoe_agent.haproxy.running import HAProxyProcess, running

WAITS = "print(flush=True); import sys; sys.stdin.read()"
FORKS = f"import os, sys; os.fork() or exec({WAITS!r}); sys.stdin.read()"


@pytest.fixture
def start(tmp_path):
    """Start a program under a name."""
    begun = []

    def named(name, script):
        program = tmp_path / name
        program.symlink_to(sys.executable)
        child = subprocess.Popen(
            [str(program), "-I", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        begun.append(child)
        child.stdout.readline()
        return psutil.Process(child.pid)

    yield named
    for child in begun:
        child.stdin.close()
        child.wait()
        child.stdout.close()


def test_one_that_serves_by_itself(start):
    alone = start("haproxy", WAITS)
    (found,) = running([alone, psutil.Process()])
    assert (found.pid, found.user, found.root) == (alone.pid, os.geteuid(), "/")
    assert os.getegid() in found.groups


def test_of_a_master_its_children(start):
    master = start("haproxy", FORKS)
    (worker,) = master.children()
    assert [one.pid for one in running([master, worker])] == [worker.pid]


def test_others_are_none(start):
    assert not list(running([start("nginx", WAITS)]))


def test_root_may_all(tmp_path):
    (tmp_path / "s").touch(0o600)
    assert HAProxyProcess(1, 0, frozenset()).may_connect(tmp_path / "s")
