from __future__ import annotations

from itertools import pairwise
from statistics import mean, median, pstdev

import pytest

from bench.policies.arrivals import Arrival
from bench.policies.bursts import SILENCE_S, bursts


def test_a_seed_gives_the_same_crowds_again() -> None:
    assert bursts("x", 7200.0, 3) == bursts("x", 7200.0, 3)
    assert bursts("x", 7200.0, 3) != bursts("x", 7200.0, 4)


def test_gaps_vary_thirteen_times_their_mean() -> None:
    arrivals = bursts("x", 1_000_000.0, 1)
    gaps = [later.at_s - earlier.at_s for earlier, later in pairwise(arrivals)]

    assert pstdev(gaps) / mean(gaps) == pytest.approx(13.0, abs=1.0)
    assert all(gap > 0 for gap in gaps) and arrivals[-1].at_s < 1_000_000.0
    assert sum(gap > SILENCE_S / 4 for gap in gaps) / len(gaps) == pytest.approx(0.008, abs=0.003)


def test_prompts_are_long_and_answers_short() -> None:
    arrivals = bursts("x", 1_000_000.0, 1)

    assert {arrival.rank for arrival in arrivals} == {"x"}
    assert median(arrival.prompt_tokens for arrival in arrivals) == pytest.approx(1500, rel=0.05)
    assert median(arrival.output_tokens for arrival in arrivals) == pytest.approx(13, abs=1)


def test_lengths_may_be_those_of_a_trace() -> None:
    known = [Arrival(0.0, None, 700, 30), Arrival(1.0, None, 800, 40)]
    found = {(one.prompt_tokens, one.output_tokens) for one in bursts("x", 7200.0, 0, known)}

    assert found == {(700, 30), (800, 40)}
