from __future__ import annotations

import pytest

from spoe_agent.simulator.virtual.requests import CLIENT_LEFT, SERVED, RequestOutcome
from spoe_agent.simulator.work import Task
from tests.simulator.virtual.builders import request


def done(
    status: int = SERVED, first_at_s: float | None = 10.5, kind: Task = Task.GENERATE, tokens: int = 11
) -> RequestOutcome:
    asked = request(1, at_s=10.0, kind=kind, output_tokens=tokens)
    return RequestOutcome(asked, status=status, first_at_s=first_at_s, ended_at_s=11.0)


def test_times_count_from_sending() -> None:
    record = done()

    assert (record.ttft_s, record.e2e_s) == (0.5, 1.0)
    assert record.tpot_s == pytest.approx(0.05)
    assert record.slowdown == pytest.approx(1.0 / 0.2)


@pytest.mark.parametrize(
    "record",
    [
        pytest.param(done(tokens=1), id="one token"),
        pytest.param(done(kind=Task.EMBED, first_at_s=None), id="embedding"),
        pytest.param(done(504, first_at_s=None), id="no token came"),
    ],
)
def test_without_two_tokens_there_is_no_time_between_them(record: RequestOutcome) -> None:
    assert record.tpot_s is None


@pytest.mark.parametrize(
    ("status", "served", "failed"),
    [(SERVED, True, False), (CLIENT_LEFT, False, False), (502, False, True), (503, False, True), (504, False, True)],
)
def test_who_leaves_did_not_fail(status: int, served: bool, failed: bool) -> None:
    assert (done(status).served, done(status).failed) == (served, failed)
