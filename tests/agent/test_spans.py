"""Spans: one for each decision that is to be traced, as OTLP has it."""

import pytest

from spoe_agent.agent.ending import Ending, Line
from spoe_agent.agent.spans import MOST
from spoe_agent.routing import Kind
from tests.rigs import Held, Rig, asks

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SAMPLED = f"00-{TRACE}-{PARENT}-01"


def wanted(rig):
    rig.agent.record.spans.is_wanted, rig.agent.record.spans.wall_offset_s = True, 900.0
    return rig


def end(rig, request_id="r1"):
    line = Line(request_id, "g0", Ending(0.25, 2.0, is_whole=True), kind=Kind.INFERENCE, name="job-1")
    rig.agent.record.ended(line)
    return rig.agent.record.spans.take()


def test_a_span_is_a_part_of_the_clients_trace():
    rig = wanted(Rig())
    rig.agent.decide(asks(trace=SAMPLED))
    (span,) = end(rig)
    assert (span["traceId"], span["parentSpanId"], len(span["spanId"])) == (TRACE, PARENT, 16)
    assert (span["startTimeUnixNano"], span["endTimeUnixNano"]) == ("1000000000000", "1000000000000")
    found = {one["key"]: next(iter(one["value"].values())) for one in span["attributes"]}
    assert found == {
        "pointsman.id": "r1",
        "pointsman.request_id": "job-1",
        "pointsman.action": "route",
        "pointsman.reason": "room",
        "pointsman.instance": found["pointsman.instance"],
        "gen_ai.request.model": "a:latest",
        "pointsman.first_byte_s": 0.25,
        "http.response.status_code": "200",
    }


def test_who_was_turned_away_has_no_first_byte():
    rig = wanted(Rig())
    rig.agent.decide(asks())
    rig.agent.record.ended(Line("r1", "<NOSRV>", Ending(-0.001, 0.0, is_whole=False), status=404, termination="LR"))
    (span,) = rig.agent.record.spans.take()
    assert "pointsman.first_byte_s" not in {one["key"] for one in span["attributes"]}


def test_of_a_held_request_it_lasts_as_long_as_that_was_held():
    rig = wanted(Held())
    rig.ask("r1", "r2", trace=SAMPLED)
    rig.clock.now_s += 3.5
    rig.agent.ended("r1")
    assert len(end(rig, "r1")) == 1
    (span,) = end(rig, "r2")
    assert int(span["endTimeUnixNano"]) - int(span["startTimeUnixNano"]) == 3_500_000_000


@pytest.mark.parametrize(
    ("trace", "is_own", "count"),
    [
        ("", True, 1),
        (f"00-{TRACE}-{PARENT}-00", False, 0),
        (f"00-{TRACE}-{PARENT}-03", False, 1),
        (f"01-{TRACE}-{PARENT}-01", True, 1),
        (f"00-{'0' * 32}-{PARENT}-01", True, 1),
        (f"00-{TRACE}-{'0' * 16}-01", True, 1),
        (f"00-{TRACE.upper()}-{PARENT}-01", True, 1),
        ("nonsense", True, 1),
    ],
)
def test_which_trace(trace, is_own, count):
    rig = wanted(Rig())
    rig.agent.decide(asks(trace=trace))
    spans = end(rig)
    assert len(spans) == count
    assert all(("parentSpanId" not in span) == is_own for span in spans)


def test_none_are_made_that_nobody_wants_and_not_without_bound():
    rig = Rig()
    rig.agent.decide(asks())
    assert end(rig) == []
    wanted(rig)
    for number in range(MOST + 5):
        rig.agent.decide(asks(request_id=f"r{number}"))
        line = Line(f"r{number}", "g0", Ending(0.1, 0.2, is_whole=True), kind=Kind.INFERENCE)
        rig.agent.record.ended(line)
    assert (len(rig.agent.record.spans.take()), rig.agent.record.spans.lost) == (MOST, 5)
