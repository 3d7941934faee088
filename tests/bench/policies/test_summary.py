from __future__ import annotations

import pytest

from bench.policies.summary import figures, percentile, warm_up_s
from tests.simulator.virtual.builders import run, sample


@pytest.mark.parametrize(("span_s", "expected"), [(7200.0, 600.0), (3000.0, 600.0), (100.0, 20.0)])
def test_warm_up_is_ten_minutes_or_a_fifth(span_s: float, expected: float) -> None:
    assert warm_up_s(span_s) == expected


@pytest.mark.parametrize(
    ("values", "part", "expected"),
    [([], 0.5, 0.0), ([3.0], 0.99, 3.0), ([1.0, 2.0], 0.5, 1.5), ([0.0, 1.0, 2.0, 3.0, 4.0], 0.75, 3.0)],
)
def test_percentiles_lie_between_neighbours(values: list[float], part: float, expected: float) -> None:
    assert percentile(values, part) == expected


def test_times_are_measured_after_the_warm_up_and_loads_always() -> None:
    samples = [sample(0.0, ttft=99.0, cold=True), *(sample(10.0 * n, ttft=1.0) for n in range(3, 11))]
    got = figures([run(samples, loads=(1.0, 2.0, 50.0), loading_s=6.0, gpu_s=60.0)])

    assert got.requests == 9
    assert (got.ttft_mean, got.ttft_p99, got.e2e_mean) == (1.0, 1.0, 2.0)
    assert got.loads_per_1000 == pytest.approx(3000 / 9)
    assert got.loads_per_1000_warm == pytest.approx(1000 / 8)
    assert got.cold_per_1000 == pytest.approx(1000 / 9)
    assert got.loading_share == pytest.approx(0.1)


def test_failures_count_against_the_objectives_and_clients_that_may_leave_do_not_count() -> None:
    samples = [
        sample(0.0),
        *(sample(100.0, ttft=1.0) for _ in range(6)),
        *(sample(100.0, ttft=5.0, in_time=False) for _ in range(1)),
        sample(100.0, ttft=60.0, status=502, in_time=False),
        sample(100.0, ttft=0.0, status=499, in_time=False, stays=False),
        sample(100.0, ttft=0.1, stays=False),
    ]
    got = figures([run(samples)])

    assert (got.failed, got.cancelled) == (1, 1)
    assert got.slo == pytest.approx(6 / 8)
    assert got.ttft_mean == pytest.approx((6 * 1.0 + 5.0 + 60.0) / 8)


def test_fairness_is_jains_index_over_models() -> None:
    def fairness(*slowdowns: float) -> float:
        samples = [sample(9.0, model=str(n), slowdown=value) for n, value in enumerate(slowdowns)]
        return figures([run(samples)]).fairness

    assert fairness(2.0, 2.0, 2.0) == pytest.approx(1.0)
    assert fairness(1.0, 3.0) == pytest.approx(16 / 20)


def test_each_model_has_its_own_p95() -> None:
    samples = [sample(9.0, ttft=1.0, model="a"), sample(9.0, ttft=4.0, model="b")]

    assert figures([run(samples)]).p95_by_model == {"a": 1.0, "b": 4.0}


def test_seeds_are_pooled() -> None:
    got = figures([run([sample(9.0, ttft=1.0)], loads=(1.0,)), run([sample(9.0, ttft=3.0)], loads=(1.0, 2.0))])

    assert (got.requests, got.ttft_mean, got.loads_per_1000) == (2, 2.0, 1500.0)


def test_of_placements_the_figures_are_means() -> None:
    first = run([sample(9.0, ttft=1.0), sample(9.0, ttft=1.0, status=502)], loads=(1.0,))
    second = run([sample(9.0, ttft=3.0), sample(9.0, ttft=3.0, model="b")], placement=1)
    got = figures([first, second])

    assert (got.requests, got.failed, got.ttft_mean, got.loads_per_1000) == (2, 0.5, 2.0, 250.0)
    assert got.p95_by_model == {"a": 2.0, "b": 3.0}
    assert got.ttft_chance == pytest.approx(2**0.5 / 2)
    assert figures([first]).ttft_chance == 0.0
