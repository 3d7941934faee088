"""Who has ended: what is known of a process for certain, and what silence means where nothing is."""

import os
import subprocess
import sys

import pytest

from spoe_agent.haproxy.processes import SILENT_S, SURE_S, HAProxyProcesses, birth

HERE, ELSEWHERE, UNNAMED = "11-a", "22-b", "c"


class Host:
    """A clock, and the processes that an operating system shows."""

    def __init__(self):
        self.now_s, self.births = 100.0, {11: "1000"}
        self.it = HAProxyProcesses(lambda: self.now_s, self.births.get)

    def ended(self, after_s):
        self.now_s += after_s
        return self.it.take_ended()


def test_one_that_the_system_no_longer_shows_has_ended_once_its_last_lines_were_read():
    host = Host()
    host.it.asked(HERE)
    assert host.ended(10 * SILENT_S) == []  # its streams are long
    host.it.logged(HERE)
    del host.births[11]
    assert host.ended(SURE_S / 2) == []
    assert host.ended(SURE_S) == [HERE]
    assert host.ended(SURE_S) == []


def test_another_that_got_its_number_is_not_it():
    host = Host()
    host.it.asked(HERE)
    host.births[11] = "2000"
    assert host.ended(SURE_S) == [HERE]


@pytest.mark.parametrize("name", [ELSEWHERE, UNNAMED])
def test_one_that_cannot_be_seen_has_ended_when_it_is_silent_and_not_connected(name):
    host = Host()
    host.it.connected(name)
    host.it.asked(name)
    assert host.ended(2 * SILENT_S) == []
    host.it.disconnected(name)
    host.it.logged(name)
    assert host.ended(SILENT_S - 1) == []
    assert host.ended(1) == [name]


def test_lines_of_one_that_is_forgotten_do_not_bring_it_back():
    host = Host()
    host.it.logged(ELSEWHERE)
    host.it.disconnected(ELSEWHERE)
    assert host.it.heard == {}


def test_a_haproxy_is_known_by_its_command_and_its_life_by_its_start():
    """A real process that is called so: haproxy is what its arguments say, and it ends."""
    command = [sys.executable, "-c", "print(flush=True); input()", "haproxy"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        child.stdout.readline()  # it runs
        first = birth(child.pid)
        assert first is not None
        assert first == birth(child.pid)
        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert birth(child.pid) is None  # nobody has asked for its status yet
    assert birth(child.pid) is birth(0) is None
