"""Spans on their way to a collector, and a collector that does not take them."""

import asyncio
from contextlib import asynccontextmanager

import pytest
from structlog.testing import capture_logs

from spoe_agent.agent.ending import Ending, Line
from spoe_agent.fleet import Policies
from spoe_agent.rig.process import free_port
from spoe_agent.routing import Kind
from spoe_agent.traces.export import Exporter
from tests.rigs import Rig, asks
from tests.serving import until
from tests.traces.collector import collector

QUICK_S = 0.01


def policies(url):
    return Policies(traces={"endpoint": url})


@asynccontextmanager
async def exporting(url):
    rig = Rig()
    rig.exporter = Exporter(rig.agent.record.spans, policies(url), lambda: 1000.0, rig.clock, QUICK_S)
    task = asyncio.ensure_future(rig.exporter.run())
    yield rig, rig.agent.record.spans
    task.cancel()
    await asyncio.wait([task])


def request(rig, number):
    rig.agent.decide(asks(request_id=f"r{number}"))
    rig.agent.record.ended(Line(f"r{number}", "g0", Ending(0.1, 1.0, True), kind=Kind.INFERENCE))


async def test_spans_arrive():
    async with collector() as there, exporting(there.url) as (rig, spans):
        for number in range(3):
            request(rig, number)
        await until(lambda: spans.sent == 3)
    assert [span["startTimeUnixNano"] for span in there.spans] == ["1000000000000"] * 3
    about = {one["key"]: one["value"]["stringValue"] for one in there.resources[0]["attributes"]}
    assert about["service.name"] == "pointsman"


async def test_a_collector_that_fails_is_said_once_and_costs_its_spans():
    async with collector() as there, exporting(there.url) as (rig, spans):
        there.status = 503
        with capture_logs() as logs:
            for number in range(2):
                request(rig, number)
                await until(lambda number=number: spans.lost == number + 1)
            assert rig.exporter.warnings() == [f"{there.url}/v1/traces answers 503: spans of decisions are lost"]
            there.status = 200
            request(rig, 2)
            await until(lambda: spans.sent == 1)
    assert [line["log_level"] for line in logs if line["log_level"] != "debug"] == ["warning", "info"]
    assert rig.exporter.warnings() == []


@pytest.mark.parametrize(
    ("answer", "lost"),
    [
        ({"partialSuccess": {"rejectedSpans": "1", "errorMessage": "no"}}, 1),
        ({"partialSuccess": {}}, 0),
        ({"partialSuccess": None}, 0),
        ([], 0),
    ],
)
async def test_a_collector_that_takes_a_part(answer, lost):
    async with collector() as there:
        there.answer = answer
        rig = Rig()
        exporter = Exporter(rig.agent.record.spans, policies(there.url), lambda: 1000.0, rig.clock)
        for number in range(3):
            request(rig, number)
        await exporter.leave()
        spans = rig.agent.record.spans
        assert (spans.sent, spans.lost) == (3 - lost, lost)
        said = [f"{there.url}/v1/traces answers no: spans of decisions are lost"] if lost else []
        assert exporter.warnings() == said


async def test_nobody_there_costs_the_spans_too():
    async with exporting(f"http://127.0.0.1:{free_port()}") as (rig, spans):
        request(rig, 1)
        await until(lambda: spans.lost == 1)
    assert "connection refused" in rig.exporter.warnings()[0]


async def test_an_edit_ends_it_and_the_last_ones_are_sent():
    async with collector() as there:
        rig = Rig()
        exporter = Exporter(rig.agent.record.spans, policies(there.url), lambda: 1000.0, rig.clock)
        request(rig, 1)
        await exporter.leave()
        assert len(there.spans) == 1
        exporter.adopt(Policies())
        request(rig, 2)
        await exporter.leave()
        assert (len(there.spans), there.asked) == (1, 1)
