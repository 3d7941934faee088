"""What requests leave in the metrics."""

import pytest

from spoe_agent.agent.ending import Ending, Left
from spoe_agent.agent.grant import Grant
from spoe_agent.routing import Tier
from spoe_agent.routing.estimates import EMPTY_S
from spoe_agent.routing.wishes import Wishes
from tests.metrics.rig import A, B, Rig


async def test_a_warm_and_a_cold_request():
    rig = Rig()
    for name in ("r1", "r2"):
        assert rig.ask(name).instance == "g0"
        rig.end(name, "g0", 0.2, 3.0)
    assert rig.ask("r3", "b").instance == "g1"
    rig.end("r3", "g1", 7.0, 9.0)
    for labels, count in (
        ({"action": "route", "reason": "loaded", "instance": "g0"}, 2),
        ({"action": "route", "reason": "room", "instance": "g1"}, 1),
    ):
        assert await rig.value("pointsman_decisions_total", **labels) == count
    assert await rig.value("pointsman_model_decisions_total", model="a:latest", action="route") == 2
    assert await rig.value("pointsman_loads_total", instance="g1", reason="room") == 1
    assert await rig.value("pointsman_load_seconds_sum", reason="room") == 7.0 - EMPTY_S
    assert await rig.value("pointsman_time_to_first_token_seconds_sum", instance="g0", start="warm") == 0.4
    first = {"instance": "g0", "start": "warm"}
    assert await rig.value("pointsman_time_to_first_token_seconds_bucket", le="0.1", **first) == 0
    assert await rig.value("pointsman_time_to_first_token_seconds_bucket", le="0.25", **first) == 2
    assert await rig.value("pointsman_time_to_first_token_seconds_count", instance="g1", start="cold") == 1
    assert await rig.value("pointsman_request_seconds_sum", instance="g1") == 9.0
    assert await rig.value("pointsman_requests_ended_total", instance="g0", outcome="whole") == 2


async def test_answers_that_come_at_once_or_break_tell_no_first_token():
    rig = Rig()
    for name, first_byte_s, is_whole in (("r1", 3.0, True), ("r2", 0.2, False)):
        rig.ask(name)
        rig.end(name, "g0", first_byte_s, 3.0, is_whole)
    assert await rig.value("pointsman_time_to_first_token_seconds_count", instance="g0", start="warm") is None
    assert await rig.value("pointsman_request_seconds_count", instance="g0") == 1
    assert await rig.value("pointsman_requests_ended_total", instance="g0", outcome="broken") == 1


@pytest.mark.parametrize(
    ("left", "outcome"), [(Left.BEFORE, "unanswered"), (Left.UNANSWERED, "unanswered"), (Left.ANSWERED, "left")]
)
async def test_a_client_that_leaves_is_no_broken_answer(left, outcome):
    rig = Rig()
    rig.ask("r1")
    rig.agent.ended("r1", "g0", Ending(-0.001, 0.0, is_whole=False, left=left))
    assert await rig.value("pointsman_requests_ended_total", instance="g0", outcome=outcome) == 1
    assert await rig.value("pointsman_requests_ended_total", instance="g0", outcome="broken") is None


async def test_predictions_are_held_against_what_was_measured():
    """Where the model is loaded and idle, the first token is predicted at what it took before."""
    rig = Rig()
    for name, first_byte_s in (("r1", 0.5), ("r2", 0.5), ("r3", 2.0)):
        rig.ask(name)
        rig.end(name, "g0", first_byte_s, 4.0)
    # Of the first nothing was known before.
    error = "pointsman_prediction_error_seconds"
    assert await rig.value(f"{error}_sum", start="warm", direction="late") == pytest.approx(1.5)
    assert await rig.value(f"{error}_count", start="warm", direction="early") == 1
    assert await rig.value(f"{error}_bucket", start="warm", direction="early", le="0.05") == 1


async def test_the_price_to_others_is_no_part_of_a_prediction():
    rig = Rig()
    rig.agent.learner.ended(Grant("r0", "g1", B, 0.0, Tier.LOADED), Ending(0.5, 4.0, is_whole=True))
    choice = rig.ask("r1", "b")
    cost = choice.chosen.cost
    assert cost.load_s > 0
    assert cost.price_s > 0
    predicted_s = 0.5 + cost.load_s + cost.behind_s
    rig.end("r1", choice.instance, predicted_s + 2.0, predicted_s + 5.0)
    found = await rig.value("pointsman_prediction_error_seconds_sum", start="cold", direction="late")
    assert found == pytest.approx(2.0)


async def test_held_requests_by_class_and_outcome():
    rig = Rig()
    for number in range(2):
        rig.ask(f"busy{number}")
    assert [str(rig.ask(f"b{number}", "b").action) for number in range(2)] == ["route", "route"]
    assert [str(rig.ask(name).action) for name in ("granted", "left", "late")] == ["hold"] * 3
    assert rig.ask("batch", wishes=Wishes(priority=100)).action == "hold"
    rig.clock.now_s += 4.0
    assert await rig.value("pointsman_held_requests", priority="0") == 3
    assert await rig.value("pointsman_held_requests", priority="100") == 1
    assert await rig.value("pointsman_held_oldest_seconds") == 4.0
    rig.end("left", "", 0.0, 0.0, is_whole=False)
    rig.end("busy0", "g0", 0.2, 3.0)
    assert await rig.value("pointsman_hold_seconds_sum", priority="0", outcome="left") == 4.0
    assert await rig.value("pointsman_hold_seconds_sum", priority="0", outcome="granted") == 4.0
    rig.clock.now_s += 60.0
    rig.agent.tick()
    assert await rig.value("pointsman_hold_seconds_count", priority="0", outcome="timeout") == 1
    assert await rig.value("pointsman_hold_seconds_count", priority="100", outcome="timeout") == 1
    assert await rig.value("pointsman_held_requests", priority="100") == 0


async def test_evictions_are_the_victims_of_loads():
    rig = Rig()
    rig.watch.drain("g1")
    choice = rig.ask("r1", "b")
    assert choice.victims == (A,)
    assert await rig.value("pointsman_loads_total", instance="g0", reason="evict") == 1
    assert await rig.value("pointsman_evictions_total", instance="g0") == 1


async def test_requests_whose_line_was_lost():
    rig = Rig()
    rig.ask("r1")
    rig.agent.forget([""])
    assert await rig.value("pointsman_grants_drift_total", direction="struck") == 1
    assert await rig.value("pointsman_grants_drift_total", direction="restored") == 0
