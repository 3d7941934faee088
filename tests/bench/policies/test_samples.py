from __future__ import annotations

import pytest

from bench.policies.samples import REFUSED_S, sample
from spoe_agent.simulator.virtual.requests import SERVED, RequestOutcome
from tests.simulator.virtual.builders import request


def ended(ttft_s: float, e2e_s: float, status: int = SERVED, tokens: int = 11) -> RequestOutcome:
    asked = request(1, at_s=100.0, output_tokens=tokens)
    return RequestOutcome(asked, status, server=1, first_at_s=100.0 + ttft_s, ended_at_s=100.0 + e2e_s, load_wait_s=0.5)


@pytest.mark.parametrize(
    ("record", "in_time"),
    [
        pytest.param(ended(2.0, 2.1), True, id="first token within prefill + 2 s, tokens as fast as alone"),
        pytest.param(ended(2.2, 2.3), False, id="first token late"),
        pytest.param(ended(0.1, 0.39), True, id="tokens nearly three times slower"),
        pytest.param(ended(0.1, 0.45), False, id="tokens more than three times slower"),
        pytest.param(ended(0.1, 9.0, tokens=1), True, id="a single token has no pace"),
        pytest.param(ended(0.1, 0.2, status=503), False, id="failed"),
    ],
)
def test_in_time_is_relative_to_the_request_alone(record: RequestOutcome, in_time: bool) -> None:
    assert sample(record).in_time is in_time


@pytest.mark.parametrize(
    ("e2e_s", "status", "expected"),
    [(0.0, 502, REFUSED_S), (REFUSED_S, 503, REFUSED_S), (600.0, 504, 600.0), (3.0, SERVED, 3.0), (2.0, 499, 2.0)],
)
def test_a_failed_request_has_waited_until_then_or_as_long_as_the_agent_would(
    e2e_s: float, status: int, expected: float
) -> None:
    found = sample(ended(1.0, e2e_s, status))

    assert (found.e2e, found.slowdown) == (expected, pytest.approx(expected / 0.2))
    assert found.ttft == (1.0 if status in (SERVED, 499) else expected)


def test_a_sample_is_one_plain_line() -> None:
    line = sample(ended(0.5, 1.0)).as_dict()

    assert line.pop("slowdown") == pytest.approx(5.0)
    assert line == {
        "t": 100.0,
        "model": "a",
        "instance": 1,
        "ttft": 0.5,
        "tpot": pytest.approx(0.05),
        "e2e": 1.0,
        "prompt_tokens": 100,
        "output_tokens": 11,
        "cold": True,
        "status": 200,
        "in_time": False,
        "stays": True,
    }
