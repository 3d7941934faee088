"""The stack, as far as it needs no HAProxy: what is started is ended, also when the rest does not start."""

import os

import pytest
import yaml

from spoe_agent.fleet import load
from spoe_agent.rig.process import RigError
from spoe_agent.rig.stack import Simulated, Stack

LIKE = Simulated(instances=2, models=(("a", "1GB"),))


async def test_what_was_started_is_ended_when_the_rest_does_not_start(tmp_path):
    stack = Stack(tmp_path, "/nonexistent/haproxy", LIKE)
    with pytest.raises(RigError, match="cannot start haproxy: /nonexistent/haproxy"):
        async with stack:
            pass
    assert len(stack.ollamas) == 2
    for process in (*stack.ollamas, stack.agent):
        with pytest.raises(ProcessLookupError):
            os.kill(process.pid, 0)


async def test_a_fleet_file_of_ones_own_keeps_all_but_its_addresses(tmp_path):
    own = tmp_path / "own.yaml"
    document = {
        "listeners": {"front": "127.0.0.1:11434"},
        "haproxy": {"files": "/etc/pointsman/haproxy", "runtime": "/run/haproxy/admin.sock"},
        "instances": [{"name": "mine", "url": "http://127.0.0.1:9"}],
        "policies": {"max_inspected_body": "1MiB"},
    }
    own.write_text(yaml.safe_dump(document))
    stack = Stack(tmp_path, "/nonexistent/haproxy", own=own, with_agent=False)
    with pytest.raises(RigError):
        async with stack:
            pass
    written = yaml.safe_load(stack.fleet_file.read_text())
    assert {key: written[key] for key in ("instances", "policies")} == {
        key: document[key] for key in ("instances", "policies")
    }
    assert stack.fleet.listeners.front.port != 11434
    assert (stack.fleet.haproxy.files, stack.fleet.haproxy.runtime) == (None, ())
    assert not stack.ollamas


async def test_values_of_ones_own_file_stay_what_they_are(tmp_path):
    """PyYAML reads the first as a number to the base of 60, and writes the second as one to the power of 10."""
    own = tmp_path / "own.yaml"
    own.write_text("""
gpus: [{id: 0000:03:00.0}]
instances: [{name: "1e5", url: "http://127.0.0.1:9", gpus: [0000:03:00.0]}]
""")
    stack = Stack(tmp_path, "/nonexistent/haproxy", own=own, with_agent=False)
    with pytest.raises(RigError):
        async with stack:
            pass
    assert (stack.fleet.gpus, stack.fleet.instances) == (load(own).gpus, load(own).instances)
