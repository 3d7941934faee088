from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from bench.live.fleet_file import document
from bench.policies.fleets import FLEETS
from spoe_agent.fleet import load, loads, specs
from spoe_agent.simulator.virtual.pointsman import fleet_spec

PLAN = FLEETS["F4h"]
ADDRESSES = [f"127.0.0.1:{port}" for port in range(9001, 9005)]


def loaded(folder: Path, time_scale: float):
    path = folder / "fleet.yaml"
    path.write_text(yaml.safe_dump(document(PLAN, ADDRESSES, time_scale)))
    return load(path)


def test_the_agent_knows_the_fleet_as_the_discrete_event_run_tells_it(tmp_path: Path) -> None:
    """But for what only HAProxy and the model store know an instance by."""
    live = tuple(replace(one, store="", tag="") for one in specs(loaded(tmp_path, 1.0)).instances)
    assert live == tuple(replace(one, store="") for one in fleet_spec(PLAN).instances)


def test_in_life_the_times_are_the_fleet_files_own(tmp_path: Path) -> None:
    ours, users = loaded(tmp_path, 1.0).policies, loads('instances: [{name: a, url: "http://127.0.0.1:1"}]').policies
    assert (ours.poll, ours.health, ours.hold_timeout) == (users.poll, users.health, users.hold_timeout)
    assert fleet_spec(PLAN).policy.hold_s == users.hold_timeout


@pytest.mark.parametrize(
    ("time_scale", "interval_s", "timeout_s", "max_age_s", "hold_s", "stall_s"),
    [
        pytest.param(1, 1.0, 2.0, 10.0, 60.0, 10.0, id="as in life"),
        pytest.param(5, 0.2, 0.4, 2.0, 12.0, 2.0, id="five times as fast"),
        pytest.param(20, 0.05, 0.2, 0.5, 3.0, 0.5, id="polls keep time to answer"),
        pytest.param(5000, 0.001, 0.2, 0.2, 0.012, 0.002, id="no shorter than the file allows"),
    ],
)
def test_times_are_as_much_shorter_as_the_fleet_is_faster(
    tmp_path: Path,
    time_scale: float,
    interval_s: float,
    timeout_s: float,
    max_age_s: float,
    hold_s: float,
    stall_s: float,
) -> None:
    policies = loaded(tmp_path, time_scale).policies

    assert (policies.poll.interval, policies.poll.timeout, policies.poll.max_age) == (interval_s, timeout_s, max_age_s)
    assert (policies.hold_timeout, policies.health.stall) == (hold_s, stall_s)
