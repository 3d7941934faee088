"""The Responses API: numbered events from created to completed, and the whole response."""

from __future__ import annotations

import pytest

from tests.simulator.client import simulated


async def test_stream():
    async with simulated() as client:
        body = {"model": "a", "input": "hello", "max_output_tokens": 2, "stream": True}
        _, events = await client.events("/v1/responses", body)
    names = [name for name, _ in events]
    assert (names[0], names[-1]) == ("response.created", "response.completed")
    assert [data["sequence_number"] for _, data in events] == list(range(len(events)))
    deltas = [data["delta"] for name, data in events if name == "response.output_text.delta"]
    last = events[-1][1]["response"]
    assert last["output"][0]["content"][0]["text"] == "".join(deltas)
    assert last["usage"]["output_tokens"] == len(deltas) == 2


@pytest.mark.parametrize("given", ["hello", [{"role": "user", "content": "hello"}]])
async def test_whole(given):
    async with simulated() as client:
        status, answer = await client.post("/v1/responses", {"model": "a", "input": given})
    assert (status, answer["object"], answer["status"]) == (200, "response", "completed")
