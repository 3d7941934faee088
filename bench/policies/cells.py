"""What is run: cells of fleet, load and workload, each with every policy and seed, over all processor cores."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path

from bench.policies.arms import ARMS, Arm, Setting
from bench.policies.arrivals import Arrival, read_trace
from bench.policies.bounds import Bounds, bounds
from bench.policies.fleets import FLEETS
from bench.policies.samples import sample
from bench.policies.summary import Run
from bench.policies.workloads import Workload, build
from spoe_agent.process.quiet import quiet
from spoe_agent.simulator.virtual.fleet import FleetPlan, fits
from spoe_agent.simulator.virtual.outcome import SimulationOutcome
from spoe_agent.simulator.virtual.requests import RequestOutcome
from spoe_agent.simulator.virtual.simulation import Simulation
from spoe_agent.simulator.virtual.struck import StruckSimulation


@dataclass(frozen=True, slots=True)
class Cell:
    """One comparison: every policy gets the same requests."""

    fleet: str
    load: float | None
    """None: a closed loop, where it is what users then offer."""
    workload: str


@dataclass(frozen=True, slots=True)
class Arrivals:
    """Where arrivals come from."""

    trace: Path | None = None
    """None: made up from the seed."""
    requests: int | None = None
    """Use only so many of them."""


@dataclass(frozen=True, slots=True)
class Job:
    """One simulation."""

    cell: Cell
    arm: str
    seed: int
    source: Arrivals
    placement: int = 0
    """Which of the policy's own salts."""


@dataclass(frozen=True, slots=True)
class FloorJob:
    """The bounds of one cell."""

    cell: Cell
    seeds: int
    source: Arrivals


@dataclass(frozen=True, slots=True)
class Done:
    """One simulation's result."""

    job: Job
    regime: str
    run: Run


@dataclass(frozen=True, slots=True)
class Floors:
    """The bounds of one cell, found."""

    job: FloorJob
    bounds: Bounds


def run_all(jobs: Sequence[Job | FloorJob], processes: int) -> Iterator[Done | Floors]:
    """Run the jobs and yield each as it is done; with one process in order, in this very process."""
    if processes == 1:
        yield from map(run_job, jobs)
        return
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        for future in as_completed([pool.submit(run_job, job) for job in jobs]):
            yield future.result()


def run_job(job: Job | FloorJob) -> Done | Floors:
    """Run one simulation, or find the bounds of one cell."""
    return simulate(job) if isinstance(job, Job) else find_floors(job)


def has_solver() -> bool:
    """Tell whether the bound on loading can be computed: it needs the extra `bench`."""
    return find_spec("scipy") is not None


def find_floors(job: FloorJob) -> Floors:
    """Find the bounds of one cell over all its seeds."""
    fleet = FLEETS[job.cell.fleet]
    requests = [workload(job.cell, seed, job.source).requests for seed in range(job.seeds)]
    loading = None
    if has_solver():
        from bench.policies.load_bound import least_loading

        loading = [least_loading(of_seed, fleet) for of_seed in requests]
    return Floors(job, bounds(requests, fleet, loading))


def simulate(job: Job) -> Done:
    """Run one simulation."""
    work = workload(job.cell, job.seed, job.source)
    arm = ARMS[job.arm]
    run = replay(arm, FLEETS[job.cell.fleet], work, job.seed * arm.placements + job.placement)
    return Done(job, work.regime, replace(run, window=job.seed, placement=job.placement))


def replay(arm: Arm, fleet: FleetPlan, work: Workload, salt: int) -> Run:
    """Run one workload through one policy; `salt` is of what the policy draws."""
    policy = arm.policy(Setting(fleet, work.models, salt, work.requests))
    instances = [arm.hardware(profile) for profile in fleet.instances]
    limits = arm.limits(fleet)
    with quiet():
        if fleet.fault is None:
            outcome = Simulation(instances, limits, work.requests, policy).run()
        else:
            outcome = StruckSimulation(instances, limits, work.requests, policy, fleet.fault).run()
    return _run(outcome, fleet, instances[0].vram_recovery_s)


@lru_cache(maxsize=2)
def workload(cell: Cell, seed: int, source: Arrivals) -> Workload:
    """Return the requests of a cell. Kept for the next policy, which gets the same."""
    trace = None if source.trace is None else _trace(source.trace)
    return build(cell.workload, FLEETS[cell.fleet], cell.load, seed, trace, source.requests)


@lru_cache(maxsize=2)
def _trace(path: Path) -> tuple[Arrival, ...]:
    return tuple(read_trace(path))


def _run(outcome: SimulationOutcome, fleet: FleetPlan, recovery_s: float) -> Run:
    span_s = outcome.records[-1].request.at_s
    return Run(
        samples=tuple(map(sample, outcome.records)),
        span_s=span_s,
        loads=tuple(at_s for at_s, _ in outcome.loads),
        loading_s=sum(load_s for _, load_s in outcome.loads) + outcome.unloads * recovery_s,
        gpu_s=len(fleet.instances) * outcome.finished_at_s,
        undone=outcome.undone,
        sent_to_struck=outcome.sent_to_struck,
        sent_to_known=outcome.sent_to_known,
        misfits=sum(_misfits(record, fleet) for record in outcome.records),
    )


def _misfits(record: RequestOutcome, fleet: FleetPlan) -> bool:
    return record.server is not None and not fits(record.request.work.model, fleet.instances[record.server])
