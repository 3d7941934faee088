"""OpenAI's dialect."""

from __future__ import annotations

import json

import zstandard

from tests.simulator.conformance.call import (
    BARE_JSON,
    CONTENT,
    DONE,
    FINISH,
    HELLO,
    MESSAGE,
    NO_USAGE,
    PULL_FIRST,
    ROLE,
    SSE,
    USAGE,
    V1_CHAT,
    chunk,
    openai,
    post,
    text_chunk,
)
from tests.simulator.shapes import Each, Events

V1_EMBEDDED = {
    "object": "list",
    "data": Each({"object": "embedding", "embedding": Each(float), "index": int}),
    "model": "embed",
    "usage": {"prompt_tokens": int, "total_tokens": int},
}
WHOLE = {"id": str, "object": "chat.completion", "created": int, "model": "small", "system_fingerprint": "fp_ollama"}
WHOLE |= {"choices": [{"index": 0, "message": MESSAGE, "finish_reason": "length"}], "usage": USAGE}
COMPLETED = {
    "id": str,
    "object": "text_completion",
    "created": int,
    "model": "small",
    "system_fingerprint": "fp_ollama",
}
COMPLETED |= {"choices": [{"index": 0, "text": str, "finish_reason": "length"}], "usage": USAGE}

OPENAI = {
    "/v1 chat": post("/v1/chat/completions", V1_CHAT, WHOLE, media=BARE_JSON),
    "/v1 chat, packed": post(
        "/v1/chat/completions",
        zstandard.ZstdCompressor().compress(json.dumps(V1_CHAT).encode()),
        WHOLE,
        media=BARE_JSON,
        headers={"Content-Encoding": "zstd"},
    ),
    "/v1 chat, streamed": post(
        "/v1/chat/completions",
        {**V1_CHAT, "stream": True},
        Events([ROLE], CONTENT, [FINISH, DONE]),
        media=SSE,
        chunked=True,
    ),
    "/v1 chat, streamed with usage": post(
        "/v1/chat/completions",
        {**V1_CHAT, "stream": True, "stream_options": {"include_usage": True}},
        Events([ROLE], CONTENT, [FINISH, chunk([], usage=USAGE), DONE]),
        media=SSE,
        chunked=True,
    ),
    "/v1 chat, nothing": post("/v1/chat/completions", b"", openai("EOF"), 400),
    "/v1 chat without messages": post(
        "/v1/chat/completions", {"model": "small"}, openai("[] is too short - 'messages'"), 400
    ),
    "/v1 chat, a text for messages": post(
        "/v1/chat/completions",
        {"model": "small", "messages": "x"},
        openai(
            "json: cannot unmarshal string into Go struct field ChatCompletionRequest.messages of type []openai.Message"
        ),
        400,
    ),
    "/v1 chat without a model": post(
        "/v1/chat/completions", {"messages": HELLO}, openai("model is required"), 400, BARE_JSON
    ),
    "/v1 chat with nobody": post(
        "/v1/chat/completions",
        {**V1_CHAT, "model": "nobody"},
        openai("model 'nobody' not found", "not_found_error"),
        404,
        BARE_JSON,
    ),
    "/v1 chat with an embedding model": post(
        "/v1/chat/completions", {**V1_CHAT, "model": "embed"}, openai('"embed" does not support chat'), 400, BARE_JSON
    ),
    "/v1 chat, strange effort": post(
        "/v1/chat/completions",
        {**V1_CHAT, "reasoning_effort": "heroic"},
        openai(
            'invalid reasoning value: "heroic" (must be "minimal", "low", "medium", "high", "xhigh", "ultra", "max", '
            'or "none")'
        ),
        400,
    ),
    "/v1 completions": post(
        "/v1/completions", {"model": "small", "prompt": "hello", "max_tokens": 3}, COMPLETED, media=BARE_JSON
    ),
    "/v1 completions, streamed": post(
        "/v1/completions",
        {"model": "small", "prompt": "hello", "max_tokens": 3, "stream": True},
        Events(
            [],
            text_chunk([{"text": str, "index": 0, "finish_reason": None}]),
            [text_chunk([{"text": "", "index": 0, "finish_reason": "length"}]), DONE],
        ),
        media=SSE,
        chunked=True,
    ),
    "/v1 completions, streamed with usage": post(
        "/v1/completions",
        {
            "model": "small",
            "prompt": "hello",
            "max_tokens": 3,
            "stream": True,
            "stream_options": {"include_usage": True},
        },
        Events(
            [],
            text_chunk([{"text": str, "index": 0, "finish_reason": None}], usage=NO_USAGE),
            [
                text_chunk([{"text": "", "index": 0, "finish_reason": "length"}], usage=NO_USAGE),
                text_chunk([], usage=USAGE),
                DONE,
            ],
        ),
        media=SSE,
        chunked=True,
    ),
    "/v1 completions without a model": post(
        "/v1/completions", {"prompt": "x"}, openai("model '' not found", "not_found_error"), 404, BARE_JSON
    ),
    "/v1 embeddings": post("/v1/embeddings", {"model": "embed", "input": "one"}, V1_EMBEDDED, media=BARE_JSON),
    "/v1 embeddings of an empty text": post(
        "/v1/embeddings", {"model": "embed", "input": ""}, V1_EMBEDDED, media=BARE_JSON
    ),
    "/v1 embeddings as base64": post(
        "/v1/embeddings",
        {"model": "embed", "input": "one", "encoding_format": "base64"},
        V1_EMBEDDED | {"data": [{"object": "embedding", "embedding": str, "index": 0}]},
        media=BARE_JSON,
    ),
    "/v1 embeddings as what?": post(
        "/v1/embeddings",
        {"model": "embed", "input": "one", "encoding_format": "morse"},
        openai("Invalid value for 'encoding_format' = morse. Supported values: ['float', 'base64']."),
        400,
    ),
    "/v1 embeddings without input": post("/v1/embeddings", {"model": "embed"}, openai("invalid input"), 400),
    "/v1 embeddings of nothing": post("/v1/embeddings", {"model": "embed", "input": []}, openai("invalid input"), 400),
    "/v1 embeddings of numbers": post(
        "/v1/embeddings", {"model": "embed", "input": [1]}, openai("invalid input type"), 400, BARE_JSON
    ),
    "/v1 embeddings with nobody": post(
        "/v1/embeddings",
        {"model": "nobody", "input": "x"},
        openai(PULL_FIRST.format("nobody"), "not_found_error"),
        404,
        BARE_JSON,
    ),
    "/v1 transcriptions without a form": post(
        "/v1/audio/transcriptions",
        {},
        openai("failed to parse multipart form: request Content-Type isn't multipart/form-data"),
        400,
    ),
}
