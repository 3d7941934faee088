from __future__ import annotations

import random

import pytest

from spoe_agent.benchmark.compare import Ratio, minutes, over_windows, ratios
from tests.benchmark.builders import run, sample


def noisy(factor: float, seed: int) -> list[object]:
    randomness = random.Random(seed)
    return [run([sample(n * 5.0, ttft=factor * randomness.uniform(0.5, 1.5)) for n in range(2000)])]


def test_a_policy_compared_with_itself_is_exactly_one() -> None:
    runs = noisy(1.0, 1)

    assert ratios(runs, runs, "ttft", (None, 0.95, 0.99)) == [Ratio(1.0, 1.0)] * 3


def test_ratios_of_mean_and_percentiles_with_their_upper_limits() -> None:
    for ratio in ratios(noisy(0.5, 1), noisy(1.0, 2), "ttft", (None, 0.5, 0.95)):
        assert ratio.value == pytest.approx(0.5, rel=0.06)
        assert ratio.value <= ratio.upper < 0.56


def test_a_burst_in_one_minute_makes_the_limit_wide() -> None:
    steady = [run([sample(n * 5.0, ttft=1.0) for n in range(1000)])]
    burst = [run([sample(n * 5.0, ttft=50.0 if 600 <= n < 612 else 1.0) for n in range(1000)])]
    (ratio,) = ratios(burst, steady, "ttft", (None,))

    assert ratio.upper > 1.5 * ratio.value


def test_the_same_values_give_the_same_limits() -> None:
    assert ratios(noisy(1, 1), noisy(1, 2), "ttft", (None,)) == ratios(noisy(1, 1), noisy(1, 2), "ttft", (None,))


def test_replaying_a_trace_more_often_makes_nothing_surer() -> None:
    once, other = noisy(0.5, 1), noisy(1.0, 2)

    assert ratios(once * 3, other * 3, "ttft", (None,)) == [
        Ratio(pytest.approx(ratio.value), pytest.approx(ratio.upper)) for ratio in ratios(once, other, "ttft", (None,))
    ]


def test_windows_that_differ_make_the_limit_wide() -> None:
    ours = [run([sample(n * 5.0, ttft=ttft) for n in range(500)]) for ttft in (1.0, 2.0, 6.0)]
    theirs = [run([sample(n * 5.0, ttft=10.0) for n in range(500)])] * 3
    (ratio,) = ratios(ours, theirs, "ttft", (None,))

    assert (ratio.value, ratio.each) == (pytest.approx(0.3), (0.1, 0.2, 0.6))
    assert 0.4 < ratio.upper <= 0.6
    assert over_windows(ratio.each).upper == pytest.approx(ratio.upper, abs=0.05)


def test_what_is_one_number_per_window() -> None:
    assert over_windows([0.4]) == Ratio(0.4, 0.4)
    assert over_windows([0.2, 0.4]) == Ratio(pytest.approx(0.3), 0.4)


def test_another_field() -> None:
    (ratio,) = ratios([run([sample(9.0, ttft=1.0)])], [run([sample(9.0, ttft=3.0)])], "e2e", (None,))

    assert ratio.value == pytest.approx(0.5)


def test_minute_by_minute() -> None:
    def one(slow_minute: float) -> list[object]:
        return [run([sample(n * 10.0, ttft=slow_minute if 60 <= n < 66 else 1.0) for n in range(120)])]

    found = minutes(one(2.0), one(1.0))

    assert (found.worst, found.above, found.counted) == (2.0, 1, 16)


def test_minutes_with_few_requests_say_nothing() -> None:
    few = [run([sample(0.0), sample(600.0, ttft=9.0)])]

    assert minutes(few, few).counted == 0


def test_failed_requests_are_not_compared() -> None:
    ours = [run([sample(9.0, ttft=1.0), sample(9.0, ttft=0.0, status=502)])]

    assert ratios(ours, ours, "ttft", (None,))[0].value == 1.0
    assert ratios(ours, [run([sample(9.0, ttft=2.0)])], "ttft", (None,))[0].value == 0.5
