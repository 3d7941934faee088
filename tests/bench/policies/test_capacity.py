from __future__ import annotations

import pytest

from bench.policies.capacity import Capacity, capacities
from bench.policies.cells import Cell
from bench.policies.verdicts import Row, verdict
from tests.simulator.virtual.builders import run, sample


def row(load: float | None, slo: float) -> Row:
    samples = [sample(9.0, in_time=number < 100 * slo) for number in range(100)]
    return verdict(Cell("F4", load, "W1"), ("R1",), {"leastconn": [run(samples)]}, None).rows[0]


@pytest.mark.parametrize(
    ("curve", "load", "is_least"),
    [
        pytest.param([(0.1, 1.0), (0.2, 0.8), (0.3, 0.5)], 0.15, False, id="between two loads"),
        pytest.param([(0.3, 0.5), (0.1, 1.0), (0.2, 0.8)], 0.15, False, id="in any order"),
        pytest.param([(0.1, 0.8), (0.2, 0.7), (0.3, 0.95)], None, False, id="below the lowest"),
        pytest.param([(0.1, 1.0), (0.2, 0.95), (0.3, 0.92)], 0.3, True, id="all carried"),
        pytest.param([(0.1, 1.0), (0.2, 0.7), (0.3, 0.95)], 0.1 + 0.1 / 3, False, id="what comes later is luck"),
    ],
)
def test_the_load_at_which_nine_in_ten_are_in_time(
    curve: list[tuple[float, float]], load: float | None, is_least: bool
) -> None:
    (found,) = capacities([row(*point) for point in curve])

    assert found == Capacity("F4", "W1", "leastconn", None if load is None else pytest.approx(load), is_least)
    assert found.as_dict()["arm"] == "leastconn"


def test_two_loads_draw_no_curve() -> None:
    assert capacities([row(0.1, 1.0), row(0.2, 0.5)]) == []


def test_a_closed_loop_has_no_load_to_carry() -> None:
    assert capacities([row(None, 1.0)] * 3) == []
