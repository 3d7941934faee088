from __future__ import annotations

from collections import Counter

import pytest

from bench.policies.bootstrap import Blocks, Window, bootstrap

VALUES = Blocks([(0.0, 1.0), (59.0, 3.0), (61.0, 8.0)])


@pytest.mark.parametrize(
    ("times", "mean", "median"),
    [
        pytest.param({0: 1, 1: 1}, 4.0, 3.0, id="each once"),
        pytest.param({0: 1}, 2.0, 1.0, id="one block only"),
        pytest.param({0: 1, 1: 3}, 28 / 5, 8.0, id="one block three times"),
        pytest.param({}, 0.0, 0.0, id="none"),
    ],
)
def test_blocks_may_be_there_several_times(times: dict[int, int], mean: float, median: float) -> None:
    assert VALUES.mean(Counter(times)) == pytest.approx(mean)
    assert VALUES.percentile(Counter(times), 0.5) == median


def test_sums_may_have_more_than_the_values() -> None:
    blocks = Blocks([(0.0, 1.0)])
    blocks.add(30.0, 5.0)

    assert blocks.mean(Counter([0])) == 6.0


def first_mean(window: Window, times: Counter[int]) -> float:
    return window[0].mean(times)


def test_limits_lie_around_the_mean_over_windows_and_are_the_same_again() -> None:
    windows = [(Blocks([(60.0 * n, level + n % 7) for n in range(70)]),) for level in (0.0, 2.0)]
    found = bootstrap(windows, first_mean)

    assert (found.value, found.each) == (pytest.approx(4.0), (pytest.approx(3.0), pytest.approx(5.0)))
    assert 2.0 < found.lower < 3.5 and 4.5 < found.upper < 6.0
    assert 0.2 < found.deviation < 1.0
    assert bootstrap(windows, first_mean) == found
