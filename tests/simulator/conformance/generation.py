"""/api/generate and /api/chat, when all goes well."""

from __future__ import annotations

from tests.simulator.conformance.call import (
    CHAT,
    CHATTED,
    GENERATE,
    GENERATED,
    HEAD,
    LOADED,
    MESSAGE,
    NDJSON,
    Call,
    chat_reason,
    post,
    reason,
    with_context,
)
from tests.simulator.shapes import Lines

GENERATION = {
    "load": post("/api/generate", {"model": "small"}, reason("load")),
    "loaded": Call("GET", "/api/ps", None, {"models": [LOADED | {"name": "small:latest"}]}),
    "generate": post("/api/generate", GENERATE, GENERATED),
    "generate, streamed": post(
        "/api/generate",
        {**GENERATE, "stream": True},
        Lines({**HEAD, "response": str, "done": False}, GENERATED | {"response": ""}),
        media=NDJSON,
        chunked=True,
    ),
    "generate by another name of the same weights": post(
        "/api/generate", {**GENERATE, "model": "second"}, GENERATED | {"model": "second"}
    ),
    "two names, one runner": Call("GET", "/api/ps", None, {"models": [LOADED | {"name": "small:latest"}]}),
    "with less context": post("/api/generate", {**GENERATE, "options": {"num_ctx": 1024, "num_predict": 3}}, GENERATED),
    "less context, loaded anew": with_context("small:latest", 1024),
    "with what the instance has": post("/api/generate", GENERATE, GENERATED),
    "the instance's context, loaded anew": with_context("small:latest", 4096),
    "with more than it was trained on": post(
        "/api/generate", {**GENERATE, "options": {"num_ctx": 99999, "num_predict": 3}}, GENERATED
    ),
    "the trained context, loaded anew": with_context("small:latest", 8192),
    "unload": post("/api/generate", {"model": "small", "keep_alive": 0}, reason("unload")),
    "chat loads": post("/api/chat", {"model": "small", "messages": []}, chat_reason("load")),
    "chat": post("/api/chat", CHAT, CHATTED),
    "chat, streamed": post(
        "/api/chat",
        {**CHAT, "stream": True},
        Lines({**HEAD, "message": MESSAGE, "done": False}, CHATTED | {"message": {"role": "assistant", "content": ""}}),
        media=NDJSON,
        chunked=True,
    ),
    "chat unloads": post("/api/chat", {"model": "small", "keep_alive": "0s"}, chat_reason("unload")),
}
