from __future__ import annotations

import io
import json

from bench.policies.cells import Arrivals, Cell, workload
from bench.policies.plan import jobs
from bench.policies.study import Study

CELLS = [Cell("F2", 0.3, "W1"), Cell("F8", 0.3, "W1")]
SMALL = Arrivals(requests=60)


def test_each_cell_is_judged_when_it_is_whole() -> None:
    ticks: list[int] = []
    study = Study(jobs(CELLS, ("leastconn", "pointsman"), 2, SMALL), None)
    seen = [(verdict, len(ticks)) for verdict in study.run(1, lambda: ticks.append(1))]

    assert [(verdict.rows[0].cell, done) for verdict, done in seen] == [(CELLS[0], 11), (CELLS[1], 22)]
    assert study.size == len(ticks) == 22
    for verdict, _ in seen:
        assert [(row.arm, len(row.regimes), row.figures.requests) for row in verdict.rows] == [
            ("leastconn", 2, 120),
            ("pointsman", 2, 120),
        ]
        assert verdict.rows[0].bounds is not None and verdict.goals


def test_a_closed_loop_has_no_bounds() -> None:
    (verdict,) = Study(jobs([Cell("F4", None, "CL")], ("leastconn", "all_warm"), 1, SMALL), None).run(1, lambda: None)

    assert all(row.bounds is None and row.figures.served_per_s > 0 for row in verdict.rows)


def test_every_window_has_its_regime() -> None:
    """Of these five, the hottest model makes 45 % of the work in two. They are in the order of seeds."""
    cell = Cell("F8", 0.3, "W3")
    (verdict,) = Study(jobs([cell], ("leastconn",), 5, Arrivals(requests=2000)), None).run(1, lambda: None)
    each = [workload(cell, seed, Arrivals(requests=2000)).regime for seed in range(5)]

    assert len(set(each)) > 1
    assert verdict.rows[0].regimes == tuple(each)


def test_every_request_is_written() -> None:
    file = io.StringIO()
    list(Study(jobs(CELLS[:1], ("leastconn",), 1, SMALL), file).run(1, lambda: None))
    lines = [json.loads(line) for line in file.getvalue().splitlines()]

    assert len(lines) == 60
    place = {"fleet": "F2", "load": 0.3, "workload": "W1", "arm": "leastconn", "seed": 0, "placement": 0, "status": 200}
    assert place.items() <= lines[0].items()
