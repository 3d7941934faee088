from __future__ import annotations

import pytest

from bench.policies.samples import sample
from spoe_agent.simulator.virtual.requests import SERVED, Record
from tests.simulator.virtual.builders import request


def ended(ttft_s: float, e2e_s: float, status: int = SERVED, tokens: int = 11) -> Record:
    asked = request(1, at_s=100.0, output_tokens=tokens)
    return Record(asked, status, server=1, first_at_s=100.0 + ttft_s, ended_at_s=100.0 + e2e_s, load_wait_s=0.5)


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
def test_in_time_is_relative_to_the_request_alone(record: Record, in_time: bool) -> None:
    assert sample(record).in_time is in_time


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
