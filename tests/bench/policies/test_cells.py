"""Whole cells, tiny: equal seeds give equal figures, and floors hold for everybody."""

from __future__ import annotations

from pathlib import Path

import pytest
import structlog

from bench.policies.arms import ARMS, IDEAL
from bench.policies.cells import (
    Arrivals,
    Cell,
    Done,
    FloorJob,
    Floors,
    Job,
    find_floors,
    run_all,
    run_job,
    simulate,
)
from bench.policies.summary import figures
from bench.policies.verdicts import verdict
from spoe_agent.simulator.virtual.requests import SERVED

CELL = Cell("F4", 0.3, "W1")
SMALL = Arrivals(requests=150)


@pytest.mark.parametrize("arm", sorted(ARMS))
def test_a_seed_gives_the_same_run_again(arm: str) -> None:
    job = Job(CELL, arm, 3, SMALL)

    assert simulate(job) == simulate(job)


def test_another_seed_is_another_run() -> None:
    assert simulate(Job(CELL, "leastconn", 1, SMALL)).run != simulate(Job(CELL, "leastconn", 2, SMALL)).run


@pytest.mark.parametrize("workload", ["W1", "W6", "W7"])
@pytest.mark.parametrize("fleet", ["F2", "F4h"])
def test_floors_hold_for_every_policy(fleet: str, workload: str) -> None:
    cell = Cell(fleet, 0.3, workload)
    floor = find_floors(FloorJob(cell, 1, SMALL)).bounds
    assert floor.floor_loading_s is not None
    held = 0
    for arm in ARMS:
        run = simulate(Job(cell, arm, 0, SMALL)).run
        got = figures([run])
        if all(sample.status == SERVED for sample in run.measured()):
            held += 1
            assert got.ttft_mean >= floor.floor_ttft_mean - 1e-9, arm
            assert got.ttft_p95 >= floor.floor_ttft_p95 - 1e-9, arm
            assert got.ttft_p99 >= floor.floor_ttft_p99 - 1e-9, arm
            assert got.e2e_mean >= floor.floor_e2e_mean - 1e-9, arm
        if arm != IDEAL and not got.failed and not got.cancelled:
            assert run.loading_s >= floor.floor_loading_s, arm
    assert held >= 5


def test_a_struck_fleet_is_struck_for_everybody() -> None:
    cell = Cell("F4-kill", 0.3, "W1")
    source = Arrivals(requests=3000)
    got = {arm: figures([simulate(Job(cell, arm, 0, source)).run]) for arm in ("leastconn", "bounded_hash")}

    assert all(0 < figure.failed < 30 for figure in got.values())
    assert all(figure.sent_to_known <= figure.sent_to_struck < 20 for figure in got.values())


def test_a_policy_that_knows_nothing_asks_a_dead_instance_again_and_misses_that_goal() -> None:
    cell = Cell("F4-kill", 0.3, "W1")
    naive = [simulate(Job(cell, "leastconn", 0, Arrivals(requests=3000))).run]
    met = {goal.name: goal.met for goal in verdict(cell, ("RS",), {"leastconn": naive, "pointsman": naive}, None).goals}

    assert met["sent to a known-dead instance"] is False


def test_placements_are_runs_of_their_own() -> None:
    runs = [simulate(Job(CELL, "bounded_hash", 1, SMALL, placement)).run for placement in (0, 1)]

    assert [(run.window, run.placement) for run in runs] == [(1, 0), (1, 1)]
    assert runs[0].samples != runs[1].samples


@pytest.mark.parametrize("arm", sorted(ARMS))
def test_nothing_is_sent_where_it_cannot_fit(arm: str) -> None:
    assert simulate(Job(Cell("F4h", 0.3, "W1"), arm, 0, SMALL)).run.misfits == 0


def test_naive_affinity_collapses_where_one_model_is_hot() -> None:
    def ttft(arm: str) -> float:
        return figures([simulate(Job(Cell("F8", 0.45, "WX"), arm, 0, Arrivals(requests=1500))).run]).ttft_mean

    assert ttft("warm_first") > 10 * ttft("all_warm")
    assert ttft("all_warm") < ttft("pointsman") < ttft("bounded_hash") < ttft("leastconn")


def test_a_trace_is_replayed(tmp_path: Path) -> None:
    trace = tmp_path / "trace.csv"
    lines = [f"{n}.5,M0{n % 3},7,{100 + n},20" for n in range(50)]
    trace.write_text("timestamp_s,model_rank,servegen_client,input_tokens,output_tokens\n" + "\n".join(lines))
    done = simulate(Job(CELL, "leastconn", 0, Arrivals(trace)))

    assert [sample.prompt_tokens for sample in done.run.samples] == [100 + n for n in range(50)]


def test_jobs_run_in_this_process_or_in_others_with_the_same_result() -> None:
    jobs: list[Job | FloorJob] = [Job(CELL, "leastconn", 0, SMALL), FloorJob(CELL, 1, SMALL)]
    here, there = list(run_all(jobs, 1)), list(run_all(jobs, 2))

    assert [type(result) for result in here] == [Done, Floors]
    assert sorted(map(repr, here)) == sorted(map(repr, there))


def test_logging_is_left_as_it_was() -> None:
    before = structlog.get_config()
    run_job(Job(CELL, "pointsman", 0, SMALL))

    assert structlog.get_config() == before
