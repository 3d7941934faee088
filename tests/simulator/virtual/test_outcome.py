from __future__ import annotations

from spoe_agent.simulator.virtual.outcome import FAILURES_UNTIL_KNOWN, UNDONE_S, OutcomeRecorder
from spoe_agent.simulator.work import LoadAborted, LoadFinished, LoadStarted, UnloadReason, UnloadStarted
from tests.simulator.virtual.builders import MODELS

A = MODELS["a"]


def test_where_models_are() -> None:
    resident: list[set[str]] = [set(), set()]
    recorder = OutcomeRecorder(resident)
    recorder.take(1, LoadStarted(0.0, 1, A))
    assert resident == [set(), {"a"}]

    recorder.take(1, LoadAborted(1.0, 1, A))
    assert resident == [set(), set()]
    assert (recorder.outcome.unloads, recorder.outcome.loads) == (1, [])


def test_loads_that_took_time_and_those_undone() -> None:
    recorder = OutcomeRecorder([set()])
    recorder.take(0, LoadFinished(2.0, 1, A, 2.0))
    recorder.take(0, LoadFinished(2.0, 1, A, 0.0))
    recorder.take(0, UnloadStarted(10.0, A, UnloadReason.EVICTED))
    recorder.take(0, LoadStarted(9.0 + UNDONE_S, 2, A))
    recorder.take(0, UnloadStarted(100.0, A, UnloadReason.EXPIRED))
    recorder.take(0, LoadStarted(101.0, 3, A))

    assert (recorder.outcome.loads, recorder.outcome.undone, recorder.outcome.unloads) == ([(2.0, 2.0)], 1, 2)


def test_requests_sent_to_a_struck_instance_and_those_sent_although_it_was_known() -> None:
    recorder = OutcomeRecorder([set(), set()])
    recorder.failed(0)
    recorder.struck(0)
    for _ in range(FAILURES_UNTIL_KNOWN):
        recorder.sent(0)
        recorder.failed(0)
    recorder.sent(0)
    recorder.sent(1)
    recorder.healed(0)
    recorder.sent(0)

    assert (recorder.outcome.sent_to_struck, recorder.outcome.sent_to_known) == (FAILURES_UNTIL_KNOWN + 1, 1)
