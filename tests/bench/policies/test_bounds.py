"""Floors: by hand on small cases, and against every policy."""

from __future__ import annotations

import pytest

from bench.policies.bounds import pooled_srpt, service_bounds, service_floor
from spoe_agent.simulator.virtual.requests import Request
from tests.simulator.virtual.builders import fleet, request


def jobs(*pairs: tuple[float, float]) -> list[Request]:
    """Requests of 0.1 s of prefill, as long in all as the second number, at the time of the first."""
    return [request(n, at_s, output_tokens=1 + round((work_s - 0.1) / 0.01)) for n, (at_s, work_s) in enumerate(pairs)]


@pytest.mark.parametrize(
    ("requests", "speed", "mean_s"),
    [
        pytest.param(jobs((0, 1)), 1.0, 1.0, id="one"),
        pytest.param(jobs((0, 1)), 4.0, 0.25, id="one on a fast server"),
        pytest.param(jobs((0, 3), (0, 1)), 1.0, (1 + 4) / 2, id="the short one first"),
        pytest.param(jobs((0, 3), (1, 1)), 1.0, (4 + 1) / 2, id="the short one interrupts"),
        pytest.param(jobs((0, 1), (5, 1)), 1.0, 1.0, id="idle between"),
        pytest.param([], 1.0, 0.0, id="none"),
    ],
)
def test_shortest_remaining_first_by_hand(requests: list[Request], speed: float, mean_s: float) -> None:
    assert pooled_srpt(requests, speed) == pytest.approx(mean_s)


def test_the_service_floor_is_prefill_alone() -> None:
    assert service_floor([request(0), request(1)]) == [0.1, 0.1]


def test_warm_up_and_leavers_are_left_out() -> None:
    requests = [
        request(0, 0.0, output_tokens=1000),
        request(1, 50.0, patience_s=2.0, output_tokens=1000),
        request(2, 100.0),
    ]

    floors, mean_s = service_bounds(requests, fleet(1))
    assert floors == [0.1]
    assert mean_s == pytest.approx(0.2)
