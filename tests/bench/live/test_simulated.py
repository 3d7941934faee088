from __future__ import annotations

from bench.live.simulated import HASH_SALTS, simulate
from bench.policies.fleets import FLEETS
from bench.policies.workloads import build

PLAN = FLEETS["F4"]
WORK = build("W1", PLAN, 0.15, 0, None, 200)


def test_the_agent_is_run_with_its_clock_as_in_the_live_run_and_as_it_should_be() -> None:
    at_life = simulate("pointsman", PLAN, WORK, 1.0)
    slow = simulate("pointsman", PLAN, WORK, 50.0)

    assert at_life.unscaled == at_life.runs[0]
    assert slow.unscaled == at_life.unscaled
    assert slow.runs[0] != slow.unscaled


def test_placements_by_hash_are_drawn_several_times() -> None:
    found = simulate("bounded_hash", PLAN, WORK, 5.0)

    assert len(found.runs) == HASH_SALTS
    assert len({run.loads for run in found.runs}) > 1
    assert len(simulate("leastconn", PLAN, WORK, 5.0).runs) == 1
