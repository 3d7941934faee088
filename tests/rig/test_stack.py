"""The stack, as far as it needs no HAProxy: what is started is ended, also when the rest does not start."""

import os

import pytest
import yaml

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
    assert not stack.ollamas
