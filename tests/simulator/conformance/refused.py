"""What /api/generate and /api/chat refuse."""

from __future__ import annotations

import json

import zstandard

from tests.simulator.conformance.call import (
    BARE_JSON,
    CHAT,
    CHATTED,
    CLOUD_OFF,
    GENERATE,
    GENERATED,
    HELLO,
    MESSAGES,
    NO_DETAILS,
    V1_CHAT,
    Call,
    native,
    post,
)

REFUSED = {
    "nothing": post("/api/generate", b"", native("missing request body"), 400),
    "half an object": post("/api/chat", b'{"model": "small"', native("unexpected EOF"), 400),
    "no JSON": post("/api/chat", b"x", native("invalid character 'x' looking for beginning of value"), 400),
    "an array": post(
        "/api/generate",
        b"[]",
        native("json: cannot unmarshal array into Go value of type api.GenerateRequest"),
        400,
    ),
    "a number for a model": post(
        "/api/chat",
        {"model": 7},
        native("json: cannot unmarshal number into Go struct field ChatRequest.model of type string"),
        400,
    ),
    "a text for messages": post(
        "/api/chat",
        {**CHAT, "messages": "x"},
        native("json: cannot unmarshal string into Go struct field ChatRequest.messages of type []api.Message"),
        400,
    ),
    "a text for stream": post(
        "/api/generate",
        {**GENERATE, "stream": "no"},
        native("json: cannot unmarshal string into Go struct field GenerateRequest.stream of type bool"),
        400,
    ),
    "a text for options": post(
        "/api/generate",
        {**GENERATE, "options": "fast"},
        native(
            "json: cannot unmarshal string into Go struct field GenerateRequest.options of type map[string]interface {}"
        ),
        400,
    ),
    "generate without a model": post("/api/generate", {"prompt": "x"}, native("model '' not found"), 404),
    "chat without a model": post("/api/chat", {"messages": HELLO}, native("model is required"), 400),
    "generate nobody": post(
        "/api/generate", {"model": "nobody", "prompt": "x"}, native("model 'nobody' not found"), 404
    ),
    "chat nobody": post("/api/chat", {"model": "nobody", "messages": HELLO}, native("model 'nobody' not found"), 404),
    "a bad name": post("/api/chat", {**CHAT, "model": "a b"}, native("invalid model name"), 400),
    "two sources": post(
        "/api/chat",
        {**CHAT, "model": "small:cloud:local"},
        native('use either :local or :cloud, not both: "small:cloud:local"'),
        400,
    ),
    "a local model": post("/api/chat", {**CHAT, "model": "small:local"}, CHATTED | {"model": "small:local"}),
    "a cloud model, generate": post("/api/generate", {**GENERATE, "model": "big:cloud"}, CLOUD_OFF, 403),
    "a cloud model, chat": post("/api/chat", {**CHAT, "model": "big:20b-cloud"}, CLOUD_OFF, 403),
    "a cloud model, embed": post("/api/embed", {"model": "big:cloud", "input": "x"}, CLOUD_OFF, 403),
    "a cloud model, show": post("/api/show", {"model": "big:cloud"}, NO_DETAILS, 403),
    "a cloud model, /v1": post("/v1/chat/completions", {**V1_CHAT, "model": "big:cloud"}, CLOUD_OFF, 403),
    "a cloud model, /v1/messages": post("/v1/messages", {**MESSAGES, "model": "big:cloud"}, CLOUD_OFF, 403),
    "a cloud model, /v1/models": Call("GET", "/v1/models/big:cloud", None, NO_DETAILS, 403),
    "num_ctx is a text": post(
        "/api/generate",
        {**GENERATE, "options": {"num_ctx": "abc"}},
        native('option "num_ctx" must be of type integer'),
        500,
    ),
    "use_mmap is a text": post(
        "/api/chat",
        {**CHAT, "options": {"use_mmap": "yes"}},
        native('option "use_mmap" must be of type boolean'),
        500,
    ),
    "temperature is a text": post(
        "/api/chat",
        {**CHAT, "options": {"temperature": "hot"}},
        native('option "temperature" must be of type float32'),
        500,
    ),
    "stop is a text": post(
        "/api/chat", {**CHAT, "options": {"stop": "."}}, native('option "stop" must be of type array'), 500
    ),
    "no such option": post("/api/generate", {**GENERATE, "options": {"warp": 9, "num_predict": 3}}, GENERATED),
    "a bad format": post(
        "/api/generate",
        {**GENERATE, "format": "bogus"},
        native('invalid format: "\\"bogus\\""; expected "json" or a valid JSON Schema object'),
        500,
    ),
    "a bad format, streamed": post(
        "/api/chat",
        {**CHAT, "stream": True, "format": "bogus"},
        native('invalid format: "\\"bogus\\""; expected "json" or a valid JSON Schema object'),
        500,
        BARE_JSON,
        chunked=True,
    ),
    "thinking": post("/api/chat", {**CHAT, "think": True}, native('"small" does not support thinking'), 400),
    "no thinking": post("/api/chat", {**CHAT, "think": False}, CHATTED),
    "a bad thought": post(
        "/api/generate",
        {**GENERATE, "think": "hard"},
        native('invalid think value: "hard" (must be "high", "medium", "low", "max", true, or false)'),
        400,
    ),
    "tools": post(
        "/api/chat",
        {**CHAT, "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]},
        native("registry.ollama.ai/library/small:latest does not support tools"),
        400,
    ),
    "a suffix": post(
        "/api/generate",
        {**GENERATE, "suffix": "x"},
        native("registry.ollama.ai/library/small:latest does not support insert"),
        400,
    ),
    "raw and a system prompt": post(
        "/api/generate",
        {**GENERATE, "raw": True, "system": "x"},
        native("raw mode does not support template, system, or context"),
        400,
    ),
    "too many logprobs": post(
        "/api/chat", {**CHAT, "top_logprobs": 21}, native("top_logprobs must be between 0 and 20"), 400
    ),
    "keep_alive is no duration": post(
        "/api/generate",
        {**GENERATE, "keep_alive": "5 parsecs"},
        native('time: unknown unit " parsecs" in duration "5 parsecs"'),
        400,
    ),
    "keep_alive is a list": post(
        "/api/generate", {**GENERATE, "keep_alive": [5]}, native("Unsupported type: '[]interface {}'"), 400
    ),
    "generate with an embedding model": post(
        "/api/generate", {**GENERATE, "model": "embed"}, native('"embed" does not support generate'), 400
    ),
    "chat with an embedding model": post(
        "/api/chat", {**CHAT, "model": "embed"}, native('"embed" does not support chat'), 400
    ),
    "pack on /api": post(
        "/api/chat",
        zstandard.ZstdCompressor().compress(json.dumps(CHAT).encode()),
        native("invalid character '(' looking for beginning of value"),
        400,
        headers={"Content-Encoding": "zstd"},
    ),
}
