from __future__ import annotations

import pytest

from spoe_agent.haproxy.contract import INSTANCE_CHECK
from spoe_agent.simulator.virtual.checks import HealthCheck

INTER_S, FASTINTER_S, DOWNINTER_S = INSTANCE_CHECK.inter_s, INSTANCE_CHECK.fastinter_s, INSTANCE_CHECK.downinter_s


@pytest.mark.parametrize(
    ("answers", "pauses", "is_up"),
    [
        pytest.param("yyy", [INTER_S] * 3, True, id="up"),
        pytest.param("n", [FASTINTER_S], True, id="one failure: asked again soon"),
        pytest.param("nn", [FASTINTER_S, DOWNINTER_S], False, id="two: down"),
        pytest.param("nyn", [FASTINTER_S, INTER_S, FASTINTER_S], True, id="two, not in a row"),
        pytest.param("nnny", [FASTINTER_S, DOWNINTER_S, DOWNINTER_S, INTER_S], True, id="one answer: up"),
        pytest.param("nnyn", [FASTINTER_S, DOWNINTER_S, INTER_S, FASTINTER_S], True, id="up again, two more needed"),
    ],
)
def test_fall_two_rise_one(answers: str, pauses: list[float], is_up: bool) -> None:
    check = HealthCheck()

    assert [check.take(answer == "y") for answer in answers] == pauses
    assert check.is_up is is_up
