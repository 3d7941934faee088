"""Anthropic's shapes: the events of a message, the whole message, errors."""

from __future__ import annotations

import pytest

from tests.simulator.client import simulated

ASK = {"model": "a", "max_tokens": 2, "messages": [{"role": "user", "content": [{"type": "text", "text": "hello"}]}]}


async def test_stream():
    async with simulated() as client:
        content_type, events = await client.events("/v1/messages", ASK | {"stream": True})
    assert content_type == "text/event-stream"
    assert [name for name, _ in events] == [
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    assert all(name == data["type"] for name, data in events)
    start, end = events[0][1]["message"], events[5][1]
    assert (start["role"], start["model"], start["content"]) == ("assistant", "a", [])
    assert (end["delta"]["stop_reason"], end["usage"]["output_tokens"]) == ("max_tokens", 2)


async def test_whole():
    async with simulated() as client:
        status, answer = await client.post("/v1/messages", ASK)
    assert (status, answer["type"], answer["stop_reason"]) == (200, "message", "max_tokens")
    assert len(answer["content"][0]["text"].split()) == 2


@pytest.mark.parametrize(
    ("change", "status", "kind", "text"),
    [
        ({"model": ""}, 400, "invalid_request_error", "model is required"),
        ({"max_tokens": 0}, 400, "invalid_request_error", "max_tokens is required and must be positive"),
        ({"messages": []}, 400, "invalid_request_error", "messages is required"),
        ({"model": "zzz"}, 404, "not_found_error", "model 'zzz' not found"),
        ({"model": "embed"}, 400, "invalid_request_error", '"embed" does not support chat'),
    ],
)
async def test_errors(change, status, kind, text):
    async with simulated() as client:
        got_status, answer = await client.post("/v1/messages", ASK | change)
    assert (got_status, answer["type"]) == (status, "error")
    assert answer["error"] == {"type": kind, "message": text}
