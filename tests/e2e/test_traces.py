"""A client's trace: Ollama gets it as it came, and the collector has a span of the decision in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import aiohttp
import pytest

from spoe_agent.rig.stack import Simulated, Stack
from tests.e2e.conftest import MODELS, chat, routed, seen_by, until
from tests.traces.collector import collector

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.haproxy]

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TRACEPARENT, STATE = f"00-{TRACE}-{PARENT}-01", "vendor=1"


async def test_a_trace_goes_through_and_has_the_decision(
    binary: str, tmp_path: Path, session: aiohttp.ClientSession
) -> None:
    simulated = Simulated(instances=1, models=MODELS, time_scale=50.0)
    async with collector() as there:
        settings = {"policies": {"traces": {"endpoint": there.url}}}
        async with Stack(tmp_path, binary, simulated, settings=settings) as own:
            headers = {"traceparent": TRACEPARENT, "tracestate": STATE, "X-Request-Id": "job-1"}
            large = chat("alpha", stream=False)
            large["messages"] = [{"role": "user", "content": "x" * 300_000}]
            for body in (chat("alpha", stream=False), large):
                async with session.post(f"{own.url}/api/chat", json=body, headers=headers) as answer:
                    await answer.read()
                    assert (answer.status, routed(answer)[0]) == (200, "gpu0")

            async def both() -> bool:
                return len(there.spans) == 2

            await until(both, 20, "two spans")
            seen: list[Any] = await seen_by(session, own, 0)
    assert [one["traceparent"] for one in seen] == [TRACEPARENT] * 2
    assert all("tracestate" in one["headers"] for one in seen)
    assert {(span["traceId"], span["parentSpanId"]) for span in there.spans} == {(TRACE, PARENT)}
    found = {one["key"]: one["value"] for one in there.spans[0]["attributes"]}
    assert found["pointsman.instance"] == {"stringValue": "gpu0"}
    assert found["pointsman.request_id"] == {"stringValue": "job-1"}
