"""OpenAI's responses and Anthropic's messages."""

from __future__ import annotations

from typing import Any

from tests.simulator.conformance.call import BARE_JSON, HELLO, MESSAGES, SSE, anthropic, openai, post
from tests.simulator.shapes import Events

PART = {"type": "output_text", "text": str, "annotations": [], "logprobs": []}
ITEM = {"id": str, "type": "message", "status": "completed", "role": "assistant", "content": [PART]}
DETAILED_USAGE = {"input_tokens": int, "output_tokens": 3, "total_tokens": int}
DETAILED_USAGE |= {"input_tokens_details": {"cached_tokens": 0}, "output_tokens_details": {"reasoning_tokens": 0}}
RESPONSE = {
    "id": str,
    "object": "response",
    "created_at": int,
    "completed_at": int,
    "status": "completed",
    "incomplete_details": None,
    "model": "small",
    "previous_response_id": None,
    "instructions": None,
    "output": [ITEM],
    "error": None,
    "tools": [],
    "tool_choice": "auto",
    "truncation": "disabled",
    "parallel_tool_calls": True,
    "text": {"format": {"type": "text"}},
    "top_p": 1,
    "presence_penalty": 0,
    "frequency_penalty": 0,
    "top_logprobs": 0,
    "temperature": 1,
    "reasoning": None,
    "usage": DETAILED_USAGE,
    "max_output_tokens": 3,
    "max_tool_calls": None,
    "store": False,
    "background": False,
    "service_tier": "default",
    "metadata": {},
    "safety_identifier": None,
    "prompt_cache_key": None,
}
STARTED = RESPONSE | {"status": "in_progress", "output": [], "usage": None, "completed_at": None}


def event(name: str, **data: Any) -> tuple[str, dict[str, Any]]:
    """One event of /v1/messages."""
    return name, {"type": name, **data}


def numbered(name: str, **data: Any) -> tuple[str, dict[str, Any]]:
    """One event of /v1/responses."""
    return event(name, sequence_number=int, **data)


PLACE = {"item_id": str, "output_index": 0, "content_index": 0}
RESPONSES = {
    "/v1 responses": post(
        "/v1/responses", {"model": "small", "input": "hello", "max_output_tokens": 3}, RESPONSE, media=BARE_JSON
    ),
    "/v1 responses, streamed": post(
        "/v1/responses",
        {"model": "small", "input": "hello", "max_output_tokens": 3, "stream": True},
        Events(
            [
                numbered("response.created", response=STARTED),
                numbered("response.in_progress", response=STARTED),
                numbered(
                    "response.output_item.added",
                    output_index=0,
                    item=ITEM | {"status": "in_progress", "content": []},
                ),
                numbered("response.content_part.added", **PLACE, part=PART | {"text": ""}),
            ],
            numbered("response.output_text.delta", **PLACE, delta=str, logprobs=[]),
            [
                numbered("response.output_text.done", **PLACE, text=str, logprobs=[]),
                numbered("response.content_part.done", **PLACE, part=PART),
                numbered("response.output_item.done", output_index=0, item=ITEM),
                numbered("response.completed", response=RESPONSE),
            ],
        ),
        media=SSE,
        answer_headers={"Cache-Control": "no-cache"},
        chunked=True,
    ),
    "/v1 responses without a model": post("/v1/responses", {"input": "x"}, openai("model is required"), 400, BARE_JSON),
    "/v1 messages": post(
        "/v1/messages",
        MESSAGES,
        {
            "id": str,
            "type": "message",
            "role": "assistant",
            "model": "small",
            "content": [{"type": "text", "text": str}],
            "stop_reason": "max_tokens",
            "usage": {"input_tokens": int, "output_tokens": 3},
        },
        media=BARE_JSON,
    ),
    "/v1 messages, streamed": post(
        "/v1/messages",
        {**MESSAGES, "stream": True},
        Events(
            [
                event(
                    "message_start",
                    message={
                        "id": str,
                        "type": "message",
                        "role": "assistant",
                        "model": "small",
                        "content": [],
                        "usage": {"input_tokens": int, "output_tokens": 0},
                    },
                ),
                event("content_block_start", index=0, content_block={"type": "text", "text": ""}),
            ],
            event("content_block_delta", index=0, delta={"type": "text_delta", "text": str}),
            [
                event("content_block_stop", index=0),
                event(
                    "message_delta",
                    delta={"stop_reason": "max_tokens"},
                    usage={"input_tokens": int, "output_tokens": 3},
                ),
                event("message_stop"),
            ],
        ),
        media=SSE,
        answer_headers={"Cache-Control": "no-cache"},
        chunked=True,
    ),
    "/v1 messages without max_tokens": post(
        "/v1/messages",
        {"model": "small", "messages": HELLO},
        anthropic("max_tokens is required and must be positive"),
        400,
    ),
    "/v1 messages without messages": post(
        "/v1/messages", {"model": "small", "max_tokens": 3}, anthropic("messages is required"), 400
    ),
    "/v1 messages without a model": post(
        "/v1/messages", {"messages": HELLO, "max_tokens": 3}, anthropic("model is required"), 400
    ),
    "/v1 messages with nobody": post(
        "/v1/messages",
        {**MESSAGES, "model": "nobody"},
        anthropic("model 'nobody' not found", "not_found_error"),
        404,
        BARE_JSON,
    ),
}
