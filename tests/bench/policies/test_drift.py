from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest

from bench.policies.arrivals import Arrival
from bench.policies.drift import HOURS, SILENCE_S, SILENT_RANKS, drift
from bench.policies.generator import DURATION_S, Traffic

WINDOWS = range(len(HOURS))


def times(arrivals: list[Arrival], rank: str) -> list[float]:
    return [arrival.at_s for arrival in arrivals if arrival.rank == rank]


def longest_gap_s(arrivals: list[Arrival], rank: str) -> float:
    found = times(arrivals, rank)
    return max((later - earlier for earlier, later in pairwise(found)), default=0.0)


def test_a_seed_gives_the_same_window_again() -> None:
    assert drift(Traffic(), 7) == drift(Traffic(), 7)
    assert drift(Traffic(), 7) != drift(Traffic(), 2)


@pytest.mark.parametrize("seed", WINDOWS)
def test_two_hours_in_order(seed: int) -> None:
    arrivals = drift(Traffic(), seed)
    moments = [arrival.at_s for arrival in arrivals]

    assert moments == sorted(moments) and moments[0] >= 0 and moments[-1] <= DURATION_S
    assert len(arrivals) == pytest.approx(Traffic().requests, abs=Traffic().ranks)


@pytest.mark.parametrize("seed", WINDOWS)
def test_one_popular_model_falls_silent_and_comes_back(seed: int) -> None:
    arrivals = drift(Traffic(), seed)
    silent = [rank for rank in SILENT_RANKS if longest_gap_s(arrivals, f"M{rank:02}") >= SILENCE_S]

    assert silent
    for rank in silent:
        moments = times(arrivals, f"M{rank:02}")
        after_s = max(pairwise(moments), key=lambda pair: pair[1] - pair[0])[1]
        assert sum(at_s >= after_s for at_s in moments) > 10


def test_what_is_popular_differs_from_window_to_window() -> None:
    orders = {
        tuple(rank for rank, _ in Counter(arrival.rank for arrival in drift(Traffic(), seed)).most_common(4))
        for seed in WINDOWS
    }

    assert len(orders) == len(WINDOWS)
