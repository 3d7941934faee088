from __future__ import annotations

import random
from dataclasses import replace

import pytest

from bench.policies.compare import Gap, Ratio, gap_closed, loads_ratio, minutes, ratios
from bench.policies.summary import Run
from tests.simulator.virtual.builders import run, sample


def noisy(factor: float, seed: int) -> list[Run]:
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

    def thrice(runs: list[Run]) -> list[Run]:
        return [replace(one, window=number) for number in range(3) for one in runs]

    assert ratios(thrice(once), thrice(other), "ttft", (None,)) == [
        Ratio(pytest.approx(ratio.value), pytest.approx(ratio.upper)) for ratio in ratios(once, other, "ttft", (None,))
    ]


def test_windows_that_differ_make_the_limit_wide() -> None:
    def windows(*ttft: float) -> list[Run]:
        return [run([sample(n * 5.0, ttft=one) for n in range(500)], window=number) for number, one in enumerate(ttft)]

    ours, theirs = windows(1.0, 2.0, 6.0), windows(10.0, 10.0, 10.0)
    (ratio,) = ratios(ours, theirs, "ttft", (None,))

    assert (ratio.value, ratio.each) == (pytest.approx(0.3), (0.1, 0.2, 0.6))
    assert 0.4 < ratio.upper <= 0.6


def loading(*at_s: float) -> list[Run]:
    return [run([sample(n * 10.0) for n in range(600)], loads=at_s)]


def test_loads_have_a_limit_too() -> None:
    few, many = loading(10.0, 900.0, 3000.0), loading(*(60.0 * n for n in range(100)))
    ratio = loads_ratio(few, many)

    assert ratio is not None and ratio.value == pytest.approx(0.03)
    assert 0.05 <= ratio.upper <= 0.08
    assert loads_ratio(many, many) == Ratio(1.0, 1.0)
    assert loads_ratio(few, loading()) is None


def test_the_gap_has_a_lower_limit() -> None:
    ours, theirs, ideal = noisy(0.5, 1), noisy(1.0, 2), noisy(0.4, 3)
    gap = gap_closed(ours, theirs, ideal)

    assert gap is not None and gap.value == pytest.approx(5 / 6, abs=0.05)
    assert gap.value - 0.1 < gap.lower < gap.value
    assert gap_closed(theirs, theirs, ideal) == Gap(0.0, 0.0)
    assert gap_closed(ours, ideal, theirs) is None


def test_every_placement_is_held_against_the_same_window() -> None:
    placements = [replace(noisy(factor, 1)[0], placement=number) for number, factor in enumerate((0.5, 1.5))]
    (ratio,) = ratios(placements, noisy(1.0, 1), "ttft", (None,))
    (other_way,) = ratios(noisy(1.0, 1), placements, "ttft", (None,))

    assert ratio.each == pytest.approx((0.5, 1.5))
    assert other_way.each == pytest.approx((2.0, 2 / 3))


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


def test_failed_requests_count_and_those_whose_clients_left_do_not() -> None:
    ours = [run([sample(9.0, ttft=1.0), sample(9.0, ttft=60.0, status=502), sample(9.0, ttft=0.1, status=499)])]

    assert ratios(ours, ours, "ttft", (None,))[0].value == 1.0
    assert ratios(ours, [run([sample(9.0, ttft=2.0)])], "ttft", (None,))[0].value == 15.25
