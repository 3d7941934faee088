from __future__ import annotations

from dataclasses import replace

import pytest

from bench.live.agreement import Figures, Row, Simulated, agrees, compare, figures, has_same_order
from bench.live.client import Sent
from bench.live.trial import Trial
from tests.simulator.virtual.builders import record, run, sample

USUAL = Figures(ttft_mean=1.0, ttft_p95=1.0, ttft_p99=1.0, e2e_mean=1.0, loads_per_1000=0.0, failed=0)


def row(arm: str, live: float, simulated: float, slip_p99_s: float = 0.0) -> Row:
    """Of mean times; the baseline's are 1."""
    return Row(
        arm=arm,
        live=replace(USUAL, ttft_mean=live),
        simulated=replace(USUAL, ttft_mean=simulated),
        unscaled=None,
        slip_p99_s=slip_p99_s,
        live_ratios={"ttft_mean": live},
        simulated_ratios={"ttft_mean": simulated},
    )


@pytest.mark.parametrize(
    ("live", "simulated", "is_so"),
    [(0.5, 0.5, True), (0.58, 0.5, True), (0.42, 0.5, True), (0.61, 0.5, False), (0.39, 0.5, False)],
)
def test_ratios_agree_within_a_fifth(live: float, simulated: float, is_so: bool) -> None:
    assert agrees([row("leastconn", 1.0, 1.0), row("pointsman", live, simulated)]) == is_so


@pytest.mark.parametrize(
    ("one", "other", "is_so"),
    [
        pytest.param((0.2, 0.3), (0.8, 0.9), True, id="same"),
        pytest.param((0.2, 0.9), (0.8, 0.3), False, id="swapped"),
        pytest.param((0.80, 0.90), (0.81, 0.85), True, id="swapped, but equal as far as that tells"),
        pytest.param((0.5, 0.9), (0.9, 0.95), True, id="equal in one of the two"),
    ],
)
def test_order(one: tuple[float, float], other: tuple[float, float], is_so: bool) -> None:
    assert has_same_order([row("a", *one), row("b", *other)]) == is_so
    assert has_same_order([row("b", *other), row("a", *one)]) == is_so


@pytest.mark.parametrize(("slip_s", "is_void"), [(0.019, False), (0.021, True)])
def test_a_run_that_did_not_keep_its_schedule_is_void(slip_s: float, is_void: bool) -> None:
    assert row("a", 1.0, 1.0, slip_s).is_void == is_void


def test_figures_leave_the_warm_up_out_but_count_all_failures_and_loads() -> None:
    samples = [sample(t=0.0, ttft=9.0), sample(t=1.0, status=502), *(sample(t=t, ttft=2.0) for t in (50.0, 100.0))]
    found = figures(samples, loads=2)

    assert (found.ttft_mean, found.ttft_p95, found.failed, found.loads_per_1000) == (2.0, 2.0, 1, 500.0)


def test_ratios_are_to_leastconn_and_simulated_figures_are_means_over_salts() -> None:
    def trial(arm: str, ttft_s: float) -> Trial:
        done = record(0, at_s=10.0)
        done.status, done.first_at_s, done.ended_at_s = 200, 10.0 + ttft_s, 12.0
        return Trial(arm, (Sent(done, 0.001),), loads=1)

    simulated = {
        "leastconn": Simulated([run([sample(t=10.0, ttft=2.0)])]),
        "bounded_hash": Simulated([run([sample(t=10.0, ttft=1.0)]), run([sample(t=10.0, ttft=2.0)])]),
    }
    baseline, hashed = compare([trial("leastconn", 2.0), trial("bounded_hash", 1.0)], simulated)

    assert baseline.live_ratios["ttft_mean"] == baseline.simulated_ratios["ttft_mean"] == 1.0
    assert hashed.live_ratios["ttft_mean"] == pytest.approx(0.5)
    assert hashed.simulated_ratios["ttft_mean"] == pytest.approx(0.75)
    assert hashed.agreement()["ttft_mean"] == pytest.approx(2 / 3)
    assert hashed.as_dict()["loads_per_1000"] == 1000.0


def test_without_the_baseline_there_is_nothing_to_compare() -> None:
    done = record(0)
    done.status, done.first_at_s, done.ended_at_s = 200, 1.0, 2.0
    (found,) = compare([Trial("pointsman", (Sent(done, 0.0),), 0)], {"pointsman": Simulated([run([sample()])])})

    assert not found.live_ratios
    assert agrees([found])
