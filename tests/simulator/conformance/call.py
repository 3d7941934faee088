"""One call, and the words that the tables share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.simulator.shapes import Each

JSON = "application/json; charset=utf-8"
BARE_JSON = "application/json"
NDJSON = "application/x-ndjson"
SSE = "text/event-stream"
TEXT = "text/plain; charset=utf-8"
GIN_TEXT = "text/plain"
NO_BODY = ""


@dataclass(frozen=True)
class Call:
    """One request, and what must come: `answer` is a shape (shapes.py), or the text of what is no JSON."""

    method: str
    path: str
    body: Any = None
    answer: Any = None
    status: int = 200
    media: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)
    answer_headers: Mapping[str, str] = field(default_factory=dict)
    chunked: bool = False
    """Go's server sends a body of more than 2,048 bytes, or one that is flushed, in chunks."""


def native(text: str) -> dict[str, Any]:
    return {"error": text}


def openai(text: str, kind: str = "invalid_request_error") -> dict[str, Any]:
    return {"error": {"message": text, "type": kind, "param": None, "code": None}}


def anthropic(text: str, kind: str = "invalid_request_error") -> dict[str, Any]:
    return {"type": "error", "error": {"type": kind, "message": text}, "request_id": str}


def post(path: str, body: Any, answer: Any, status: int = 200, media: str = JSON, **more: Any) -> Call:
    return Call("POST", path, body, answer, status, media, **more)


def not_allowed(method: str, path: str, allow: str) -> Call:
    text = "405 method not allowed"
    return Call(method, path, None, text, 405, GIN_TEXT, answer_headers={"Allow": allow})


HELLO = [{"role": "user", "content": "hello"}]
SHORT = {"options": {"num_predict": 3}}
GENERATE = {"model": "small", "prompt": "hello", "stream": False, **SHORT}
CHAT = {"model": "small", "messages": HELLO, "stream": False, **SHORT}
V1_CHAT = {"model": "small", "messages": HELLO, "max_tokens": 3}
MESSAGES = {"model": "small", "messages": HELLO, "max_tokens": 3}

METRICS = dict.fromkeys(["total_duration", "load_duration", "prompt_eval_count", "prompt_eval_duration"], int)
METRICS |= dict.fromkeys(["eval_count", "eval_duration"], int)
HEAD = {"model": "small", "created_at": str}
MESSAGE = {"role": "assistant", "content": str}
GENERATED = {**HEAD, "response": str, "done": True, "done_reason": "length", "context": Each(int), **METRICS}
CHATTED = {**HEAD, "message": MESSAGE, "done": True, "done_reason": "length", **METRICS}
DETAILS = {"parent_model": str, "format": "gguf", "family": "llama", "families": ["llama"], "parameter_size": str}
DETAILS |= {"quantization_level": str}
LENGTHS = {"context_length": int, "embedding_length": int}
TAG = {"name": str, "model": str, "modified_at": str, "size": int, "digest": str, "details": {**DETAILS, **LENGTHS}}
TAG |= {"capabilities": Each(str)}
LOADED = {"name": str, "model": str, "size": int, "digest": str, "details": DETAILS, "expires_at": str}
LOADED |= {"size_vram": int, "context_length": int}
SHOWN = {"modelfile": str, "parameters?": str, "template": str, "details": DETAILS, "model_info": dict}
SHOWN |= {"tensors?": list, "capabilities": ["completion"], "modified_at": str}
V1_MODEL = {"id": str, "object": "model", "created": int, "owned_by": "library"}
USAGE = {"prompt_tokens": int, "completion_tokens": 3, "total_tokens": int}
NO_USAGE = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}


def with_context(name: str, tokens: int) -> Call:
    """The one loaded model has this context."""
    return Call("GET", "/api/ps", None, {"models": [LOADED | {"name": name, "context_length": tokens}]})


def reason(why: str) -> dict[str, Any]:
    """The answer to a request without a prompt."""
    return {**HEAD, "response": "", "done": True, "done_reason": why}


def chat_reason(why: str) -> dict[str, Any]:
    return {**HEAD, "message": {"role": "assistant", "content": ""}, "done": True, "done_reason": why}


def chunk(choices: list[Any], **more: Any) -> tuple[None, dict[str, Any]]:
    """One event of /v1/chat/completions."""
    head = {"id": str, "object": "chat.completion.chunk", "created": int, "model": "small"}
    return None, {**head, "system_fingerprint": "fp_ollama", "choices": choices, **more}


def delta(part: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
    return {"index": 0, "delta": part, "finish_reason": finish}


def text_chunk(choices: list[Any], **more: Any) -> tuple[None, dict[str, Any]]:
    """One event of /v1/completions."""
    head = {"id": str, "object": "text_completion", "created": int, "model": "small"}
    return None, {**head, "system_fingerprint": "fp_ollama", "choices": choices, **more}


DONE = (None, "[DONE]")
ROLE = chunk([delta({"role": "assistant", "content": str})])
CONTENT = chunk([delta({"content": str})])
FINISH = chunk([delta({}, "length")])

PULL_FIRST = 'model "{}" not found, try pulling it first'
CLOUD_OFF = native("ollama cloud is disabled: remote model is unavailable")
NO_DETAILS = native("ollama cloud is disabled: remote model details are unavailable")
