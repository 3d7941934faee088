"""OpenAI's API as Ollama speaks it: chat and text completions, embeddings (openai/openai.go, middleware/openai.go)."""

from __future__ import annotations

import base64
import struct
import time
from collections.abc import Mapping

from aiohttp import web

from spoe_agent.simulator import asks, sse
from spoe_agent.simulator.errors import OllamaError
from spoe_agent.simulator.go_json import fold, string
from spoe_agent.simulator.serving import Result, json_answer, read_fields, serve, served
from spoe_agent.simulator.state import instance_of
from spoe_agent.simulator.words import vector


async def chat_completions(request: web.Request) -> web.StreamResponse:
    """POST /v1/chat/completions."""
    fields = await read_fields(request)
    text = string(fields, "model")
    if not fields.get("messages"):
        raise OllamaError(400, "[] is too short - 'messages'")
    if not text:
        raise OllamaError(400, "model is required")
    model = asks.find_model(instance_of(request).catalog, text)
    if model.embedding_only:
        raise OllamaError(400, f'"{text}" does not support chat')
    prompt, session = asks.conversation(fields["messages"])
    limit = asks.positive(fields.get("max_completion_tokens")) or asks.positive(fields.get("max_tokens"))
    ask = asks.generation(text, model, prompt, limit, fields.get("stream") is True, {}, session)
    return await serve(request, ask, ChatDialect(text, ask.work.id, _wants_usage(fields)))


async def completions(request: web.Request) -> web.StreamResponse:
    """POST /v1/completions."""
    fields = await read_fields(request)
    text = string(fields, "model")
    model = asks.find_model(instance_of(request).catalog, text)
    if model.embedding_only:
        raise OllamaError(400, f'"{text}" does not support generate')
    limit = asks.positive(fields.get("max_tokens"))
    prompt = string(fields, "prompt")
    ask = asks.generation(text, model, prompt, limit, fields.get("stream") is True, {})
    return await serve(request, ask, TextDialect(text, ask.work.id, _wants_usage(fields)))


async def embeddings(request: web.Request) -> web.StreamResponse:
    """POST /v1/embeddings."""
    fields = await read_fields(request)
    text = string(fields, "model")
    model = asks.find_model(instance_of(request).catalog, text, 'model "{}" not found, try pulling it first')
    inputs = asks.inputs_of(fields.get("input"))
    if not inputs:
        raise OllamaError(400, "invalid input")
    length = asks.positive(fields.get("dimensions")) or model.embedding_length
    result = await served(request, asks.embedding(text, model, inputs, {}))
    as_base64 = fields.get("encoding_format") == "base64"
    vectors = [_encoded(vector(one, length), as_base64) for one in inputs]
    data = [{"object": "embedding", "embedding": one, "index": index} for index, one in enumerate(vectors)]
    usage = {"prompt_tokens": result.prompt_tokens, "total_tokens": result.prompt_tokens}
    return json_answer({"object": "list", "data": data, "model": text, "usage": usage})


class ChatDialect:
    """SSE chunks of /v1/chat/completions; every delta carries the role, as Ollama's do."""

    headers = sse.SSE_HEADERS
    _prefix, _object, _streamed = "chatcmpl", "chat.completion", "chat.completion.chunk"

    def __init__(self, model_text: str, id: int, usage: bool) -> None:
        self._head = {"id": f"{self._prefix}-{id}", "created": int(time.time()), "model": model_text}
        self._head["system_fingerprint"] = "fp_ollama"
        self._usage = usage

    def begin(self) -> bytes:
        return b""

    def token(self, text: str) -> bytes:
        return self._chunk([self._delta(text, None)])

    def end(self, result: Result) -> bytes:
        last = self._chunk([self._delta("", result.done_reason)])
        # Ollama sends the figures in a chunk of their own, without choices.
        return last + (self._chunk([], usage_of(result)) if self._usage else b"") + sse.DONE

    def whole(self, text: str, result: Result) -> object:
        head = {"object": self._object} | self._head
        return head | {"choices": [self._choice(text, result.done_reason)], "usage": usage_of(result)}

    def _chunk(self, choices: list[object], usage: object = None) -> bytes:
        chunk = {"object": self._streamed} | self._head | {"choices": choices}
        return sse.data(chunk if usage is None else chunk | {"usage": usage})

    def _delta(self, text: str, finish_reason: str | None) -> object:
        delta = {"role": "assistant", "content": text}
        return {"index": 0, "delta": delta, "finish_reason": finish_reason}

    def _choice(self, text: str, finish_reason: str) -> object:
        message = {"role": "assistant", "content": text}
        return {"index": 0, "message": message, "finish_reason": finish_reason}


class TextDialect(ChatDialect):
    """SSE chunks of /v1/completions."""

    _prefix, _object, _streamed = "cmpl", "text_completion", "text_completion"

    def _delta(self, text: str, finish_reason: str | None) -> object:
        return {"text": text, "index": 0, "finish_reason": finish_reason}

    def _choice(self, text: str, finish_reason: str) -> object:
        return self._delta(text, finish_reason)


def usage_of(result: Result) -> dict[str, int]:
    """The token counts of a served request."""
    return {
        "prompt_tokens": result.prompt_tokens,
        "completion_tokens": result.output_tokens,
        "total_tokens": result.prompt_tokens + result.output_tokens,
    }


def _wants_usage(fields: Mapping[str, object]) -> bool:
    return fold(fields.get("stream_options")).get("include_usage") is True


def _encoded(values: list[float], as_base64: bool) -> object:
    if not as_base64:
        return values
    return base64.b64encode(struct.pack(f"<{len(values)}f", *values)).decode()
