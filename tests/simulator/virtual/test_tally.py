from __future__ import annotations

from spoe_agent.simulator.virtual.tally import FAILURES_UNTIL_KNOWN, UNDONE_S, Tally
from spoe_agent.simulator.work import LoadAborted, Loaded, LoadStarted, Unloading, UnloadReason
from tests.simulator.virtual.builders import MODELS

A = MODELS["a"]


def test_where_models_are() -> None:
    resident: list[set[str]] = [set(), set()]
    tally = Tally(resident)
    tally.take(1, LoadStarted(0.0, 1, A))
    assert resident == [set(), {"a"}]

    tally.take(1, LoadAborted(1.0, 1, A))
    assert resident == [set(), set()]
    assert (tally.outcome.unloads, tally.outcome.loads) == (1, [])


def test_loads_that_took_time_and_those_undone() -> None:
    tally = Tally([set()])
    tally.take(0, Loaded(2.0, 1, A, 2.0))
    tally.take(0, Loaded(2.0, 1, A, 0.0))
    tally.take(0, Unloading(10.0, A, UnloadReason.EVICTED))
    tally.take(0, LoadStarted(9.0 + UNDONE_S, 2, A))
    tally.take(0, Unloading(100.0, A, UnloadReason.EXPIRED))
    tally.take(0, LoadStarted(101.0, 3, A))

    assert (tally.outcome.loads, tally.outcome.undone, tally.outcome.unloads) == ([(2.0, 2.0)], 1, 2)


def test_requests_sent_to_a_struck_instance_and_those_sent_although_it_was_known() -> None:
    tally = Tally([set(), set()])
    tally.failed(0)
    tally.struck(0)
    for _ in range(FAILURES_UNTIL_KNOWN):
        tally.sent(0)
        tally.failed(0)
    tally.sent(0)
    tally.sent(1)
    tally.healed(0)
    tally.sent(0)

    assert (tally.outcome.sent_to_struck, tally.outcome.sent_to_known) == (FAILURES_UNTIL_KNOWN + 1, 1)
