"""The shell command that tests HAProxy's configuration when the fleet file names none."""

import os
import subprocess
from pathlib import Path

import pytest

from spoe_agent.fleet.schema_haproxy import DEBIAN_TEST


@pytest.mark.skipif(not Path("/etc/default/haproxy").exists(), reason="not Debian's HAProxy")
@pytest.mark.parametrize(
    ("says", "expected"),
    [
        ('CONFIG=/etc/a.cfg PIDFILE=/p "EXTRAOPTS=-S /s -f /etc/b.cfg"', "-c -q -f /etc/a.cfg -S /s -f /etc/b.cfg"),
        ("", "-c -q -f /etc/haproxy/haproxy.cfg"),
    ],
)
def test_it_takes_what_the_unit_and_its_drop_ins_say(tmp_path, says, expected):
    for name, line in (("systemctl", f"echo '{says}'"), ("haproxy", 'echo "$@"')):
        (tmp_path / name).write_text(f"#!/bin/sh\n{line}\n")
        (tmp_path / name).chmod(0o755)
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(DEBIAN_TEST, shell=True, capture_output=True, text=True, env=environment, timeout=30)
    assert (done.returncode, done.stdout.strip()) == (0, expected)
