"""Ollama's own API for inference: /api/generate, /api/chat, /api/embed, /api/embeddings.

Here: their fields and shapes (api/types.go).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from types import MappingProxyType

from aiohttp import web

from spoe_agent.simulator import asks
from spoe_agent.simulator.catalog import Model
from spoe_agent.simulator.errors import OllamaError
from spoe_agent.simulator.go_json import string
from spoe_agent.simulator.serving import Result, json_answer, read_fields, serve, served
from spoe_agent.simulator.state import instance_of
from spoe_agent.simulator.words import vector

_PULL_FIRST = 'model "{}" not found, try pulling it first'


async def generate(request: web.Request) -> web.StreamResponse:
    """POST /api/generate."""
    fields = await read_fields(request)
    text = string(fields, "model")
    model = _completing(asks.find_model(instance_of(request).catalog, text), text, "generate")
    prompt = string(fields, "prompt")
    if not prompt:
        return await serve(request, asks.without_prompt(text, model, fields), NativeDialect(text, False))
    limit = asks.option(fields, "num_predict")
    whole_prompt = string(fields, "system") + prompt
    ask = asks.generation(text, model, whole_prompt, limit, fields.get("stream") is not False, fields)
    return await serve(request, ask, NativeDialect(text, chat=False))


async def chat(request: web.Request) -> web.StreamResponse:
    """POST /api/chat."""
    fields = await read_fields(request)
    text = string(fields, "model")
    if not text:
        raise OllamaError(400, "model is required")
    model = _completing(asks.find_model(instance_of(request).catalog, text), text, "chat")
    if not fields.get("messages"):
        return await serve(request, asks.without_prompt(text, model, fields), NativeDialect(text, True))
    prompt, session = asks.conversation(fields["messages"])
    limit = asks.option(fields, "num_predict")
    ask = asks.generation(text, model, prompt, limit, fields.get("stream") is not False, fields, session)
    return await serve(request, ask, NativeDialect(text, chat=True))


async def embed(request: web.Request) -> web.StreamResponse:
    """POST /api/embed."""
    fields = await read_fields(request)
    text = string(fields, "model")
    missing = _PULL_FIRST if text else "model '{}' not found"
    model = asks.find_model(instance_of(request).catalog, text, missing)
    inputs = asks.inputs_of(fields.get("input"))
    length = asks.positive(fields.get("dimensions")) or model.embedding_length
    ask = asks.embedding(text, model, inputs, fields)
    result = await served(request, ask)
    vectors = [vector(one, length) for one in inputs]
    figures = metrics(result)
    kept = {key: figures[key] for key in ("total_duration", "load_duration", "prompt_eval_count") if key in figures}
    return json_answer({"model": text, "embeddings": vectors} | kept)


async def embeddings(request: web.Request) -> web.StreamResponse:
    """POST /api/embeddings, the older one: a single prompt."""
    fields = await read_fields(request)
    text = string(fields, "model")
    if not text:
        raise OllamaError(400, "model is required")
    model = asks.find_model(instance_of(request).catalog, text, _PULL_FIRST)
    prompt = string(fields, "prompt")
    await served(request, asks.embedding(text, model, [prompt] if prompt else [], fields))
    return json_answer({"embedding": vector(prompt, model.embedding_length) if prompt else []})


def _completing(model: Model, text: str, verb: str) -> Model:
    """``model`` if it can complete text. Raises OllamaError 400 as Ollama does for embedding models."""
    if model.embedding_only:
        raise OllamaError(400, f'"{text}" does not support {verb}')
    return model


def now_text() -> str:
    """The time as Go's RFC3339Nano in UTC."""
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")


def metrics(result: Result) -> dict[str, int]:
    """The figures of the last chunk; Go leaves zeros out (omitempty)."""
    values = {
        "total_duration": result.total_ns,
        "load_duration": result.load_ns,
        "prompt_eval_count": result.prompt_tokens,
        "prompt_eval_duration": result.prompt_eval_ns,
        "eval_count": result.output_tokens,
        "eval_duration": result.eval_ns,
    }
    return {key: value for key, value in values.items() if value}


class NativeDialect:
    """NDJSON of /api/generate and /api/chat; the latter puts the text into a message."""

    headers: Mapping[str, str] = MappingProxyType({"Content-Type": "application/x-ndjson"})

    def __init__(self, model_text: str, chat: bool) -> None:
        self._model_text = model_text
        self._chat = chat

    def begin(self) -> bytes:
        return b""

    def token(self, text: str) -> bytes:
        return _line(self._chunk(text) | {"done": False})

    def end(self, result: Result) -> bytes:
        return _line(self._last("", result))

    def whole(self, text: str, result: Result) -> object:
        return self._last(text, result)

    def _last(self, text: str, result: Result) -> dict[str, object]:
        if result.done_reason in ("load", "unload"):
            return self._chunk("") | {"done": True, "done_reason": result.done_reason}
        end = self._chunk(text) | {"done": True, "done_reason": result.done_reason}
        return end | ({} if self._chat else {"context": [1, 2, 3]}) | metrics(result)

    def _chunk(self, text: str) -> dict[str, object]:
        chunk: dict[str, object] = {"model": self._model_text, "created_at": now_text()}
        if self._chat:
            return chunk | {"message": {"role": "assistant", "content": text}}
        return chunk | {"response": text}


def _line(chunk: dict[str, object]) -> bytes:
    return json.dumps(chunk, separators=(",", ":")).encode() + b"\n"
