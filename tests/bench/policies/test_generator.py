from __future__ import annotations

from collections import Counter
from itertools import pairwise
from statistics import mean, median, pstdev

import pytest

from bench.policies.arrivals import Arrival
from bench.policies.generator import DURATION_S, Traffic, converse, generate, zipf_weights

SMALL = Traffic(requests=3000, ranks=5)


def gaps(arrivals: list[Arrival], rank: str) -> list[float]:
    times = [arrival.at_s for arrival in arrivals if arrival.rank == rank]
    return [later - earlier for earlier, later in pairwise(times)]


def test_a_seed_gives_the_same_traffic_again() -> None:
    assert generate(SMALL, 7) == generate(SMALL, 7)
    assert generate(SMALL, 7) != generate(SMALL, 8)


def test_arrivals_come_in_order_over_two_hours() -> None:
    arrivals = generate(SMALL, 1)

    times = [arrival.at_s for arrival in arrivals]
    assert times == sorted(times)
    assert times[0] >= 0 and times[-1] <= DURATION_S
    assert len(arrivals) == pytest.approx(SMALL.requests, abs=SMALL.ranks)


def test_popularity_falls_as_zipf_says() -> None:
    counts = Counter(arrival.rank for arrival in generate(SMALL, 1))

    assert counts["M01"] / counts["M02"] == pytest.approx(2**1.05, rel=0.01)
    assert sum(zipf_weights(10, 1.05)) == pytest.approx(1.0)


def test_lengths_are_those_of_conversations() -> None:
    arrivals = generate(SMALL, 1)

    assert median(arrival.prompt_tokens for arrival in arrivals) == pytest.approx(760, rel=0.1)
    assert mean(arrival.output_tokens for arrival in arrivals) == pytest.approx(211, rel=0.1)
    assert all(1 <= a.prompt_tokens <= 3800 and 1 <= a.output_tokens <= 1000 for a in arrivals)


def test_bursty_traffic_varies_more_than_poisson() -> None:
    def variation(is_bursty: bool) -> float:
        found = gaps(generate(Traffic(3000, 2, is_bursty=is_bursty), 3), "M01")
        return pstdev(found) / mean(found)

    assert variation(False) == pytest.approx(1.0, abs=0.1)
    assert variation(True) > 1.2


def test_a_conversation_grows_by_what_was_said() -> None:
    sessions: dict[str | None, list[Arrival]] = {}
    for arrival in converse(SMALL, 2):
        sessions.setdefault(arrival.session, []).append(arrival)

    assert any(len(turns) > 3 for turns in sessions.values())
    for turns in sessions.values():
        assert len({turn.rank for turn in turns}) == 1
        said = 0
        for turn in turns:
            assert turn.fresh_tokens is not None
            assert turn.prompt_tokens == said + turn.fresh_tokens
            said = turn.prompt_tokens + turn.output_tokens
