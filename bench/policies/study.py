"""All cells of one command: collects what the simulations yield, cell by cell, and judges each that is whole."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import TextIO

from bench.policies.bounds import Bounds
from bench.policies.cells import Cell, Done, FloorJob, Job, run_all
from bench.policies.summary import Run
from bench.policies.verdicts import Verdict, verdict


class Study:
    """Runs jobs and yields a verdict per cell. Samples of judged cells are dropped: they are many.

    Args:
        jobs: all of them.
        records: every request goes there as a JSON line; None: nowhere.
    """

    def __init__(self, jobs: Sequence[Job | FloorJob], records: TextIO | None) -> None:
        self._jobs = jobs
        self._records = records
        self._missing = {cell: sum(job.cell == cell for job in jobs) for cell in dict.fromkeys(j.cell for j in jobs)}
        self._runs: dict[Job, Run] = {}
        self._bounds: dict[Cell, Bounds] = {}
        self._regimes: dict[Job, str] = {}

    @property
    def size(self) -> int:
        """How many jobs there are."""
        return len(self._jobs)

    def run(self, processes: int, done: Callable[[], None]) -> Iterator[Verdict]:
        """Run everything, calling `done` after each job."""
        for result in run_all(self._jobs, processes):
            cell = result.job.cell
            if isinstance(result, Done):
                self._runs[result.job] = result.run
                self._regimes[result.job] = result.regime
                self._write(result)
            else:
                self._bounds[cell] = result.bounds
            self._missing[cell] -= 1
            done()
            if not self._missing[cell]:
                yield self._judge(cell)

    def _judge(self, cell: Cell) -> Verdict:
        jobs = [job for job in self._jobs if isinstance(job, Job) and job.cell == cell]
        runs: dict[str, list[Run]] = {}
        for job in jobs:
            runs.setdefault(job.arm, []).append(self._runs.pop(job))
        regimes = {job.seed: self._regimes.pop(job) for job in jobs}
        return verdict(cell, tuple(regimes.values()), runs, self._bounds.get(cell))

    def _write(self, result: Done) -> None:
        if self._records is None:
            return
        job = result.job
        place = {"fleet": job.cell.fleet, "load": job.cell.load, "workload": job.cell.workload}
        for sample in result.run.samples:
            line = place | {"arm": job.arm, "seed": job.seed, "placement": job.placement} | sample.as_dict()
            self._records.write(json.dumps(line) + "\n")
