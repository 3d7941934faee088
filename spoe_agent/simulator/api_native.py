"""Ollama's own API for inference: /api/generate, /api/chat, /api/embed, /api/embeddings.

Here: their fields and shapes (api/types.go).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from types import MappingProxyType

from aiohttp import web

from spoe_agent.simulator import asks, refusals
from spoe_agent.simulator.errors import OllamaError
from spoe_agent.simulator.go_json import string
from spoe_agent.simulator.serving import JSON, Result, json_answer, read_fields, serve, served
from spoe_agent.simulator.state import instance_of
from spoe_agent.simulator.words import vector


async def generate(request: web.Request) -> web.StreamResponse:
    """POST /api/generate."""
    fields = await read_fields(request)
    _check_logprobs(fields)
    text, prompt = string(fields, "model"), string(fields, "prompt")
    model = refusals.find_model(instance_of(request).catalog, text, is_required=False)
    dialect = NativeDialect(text, chat=False)
    if not prompt and asks.keep_alive_s(fields) == 0:
        return await serve(request, asks.without_prompt(text, model, fields), dialect)
    if fields.get("raw") and (string(fields, "template") or string(fields, "system") or fields.get("context")):
        raise OllamaError(400, "raw mode does not support template, system, or context")
    inserts = bool(string(fields, "suffix"))
    refusals.check_abilities(model, text, "generate", thinks=bool(fields.get("think")), inserts=inserts)
    refusals.check_options(fields)
    if not prompt:
        return await serve(request, asks.without_prompt(text, model, fields), dialect)
    limit = asks.option(fields, "num_predict")
    whole_prompt = string(fields, "system") + prompt
    ask = asks.generation(text, model, whole_prompt, limit, fields.get("stream") is not False, fields)
    return await serve(request, ask, dialect, refusals.bad_format(fields.get("format")))


async def chat(request: web.Request) -> web.StreamResponse:
    """POST /api/chat."""
    fields = await read_fields(request)
    _check_logprobs(fields)
    text, dialect = string(fields, "model"), NativeDialect(string(fields, "model"), chat=True)
    model = refusals.find_model(instance_of(request).catalog, text)
    if not fields.get("messages") and asks.keep_alive_s(fields) == 0:
        return await serve(request, asks.without_prompt(text, model, fields), dialect)
    refusals.check_abilities(model, text, "chat", tools=fields.get("tools"), thinks=bool(fields.get("think")))
    refusals.check_options(fields)
    if not fields.get("messages"):
        return await serve(request, asks.without_prompt(text, model, fields), dialect)
    prompt, session = asks.conversation(fields["messages"])
    limit = asks.option(fields, "num_predict")
    ask = asks.generation(text, model, prompt, limit, fields.get("stream") is not False, fields, session)
    return await serve(request, ask, dialect, refusals.bad_format(fields.get("format")))


async def embed(request: web.Request) -> web.StreamResponse:
    """POST /api/embed."""
    fields = await read_fields(request)
    text = string(fields, "model")
    catalog = instance_of(request).catalog
    inputs = asks.inputs_of(fields.get("input"))
    model = refusals.find_model(catalog, text, refusals.PULL_FIRST, is_required=False)
    refusals.check_options(fields)
    length = asks.positive(fields.get("dimensions")) or model.embedding_length
    result = await served(request, asks.embedding(text, model, inputs, fields))
    if not inputs:
        return json_answer({"model": text, "embeddings": []})
    if not model.embedding_only:
        raise OllamaError(501, refusals.NO_EMBEDDINGS)
    vectors = [vector(one, length) for one in inputs]
    figures = metrics(result)
    kept = {key: figures[key] for key in ("total_duration", "load_duration", "prompt_eval_count") if key in figures}
    return json_answer({"model": text, "embeddings": vectors} | kept)


async def embeddings(request: web.Request) -> web.StreamResponse:
    """POST /api/embeddings, the older one: a single prompt."""
    fields = await read_fields(request)
    text, prompt = string(fields, "model"), string(fields, "prompt")
    model = refusals.find_model(instance_of(request).catalog, text, refusals.PULL_FIRST)
    refusals.check_options(fields)
    await served(request, asks.embedding(text, model, [prompt] if prompt else [], fields))
    if prompt and not model.embedding_only:
        raise OllamaError(500, refusals.NO_EMBEDDINGS)
    return json_answer({"embedding": vector(prompt, model.embedding_length) if prompt else []})


def _check_logprobs(fields: Mapping[str, object]) -> None:
    wanted = fields.get("top_logprobs")
    if isinstance(wanted, int) and not 0 <= wanted <= 20:
        raise OllamaError(400, "top_logprobs must be between 0 and 20")


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
    media = JSON

    def __init__(self, model_text: str, chat: bool) -> None:
        self._model_text = model_text
        self._chat = chat

    def begin(self) -> bytes:
        return b""

    def token(self, text: str) -> bytes:
        return _line(self._chunk(text) | {"done": False})

    def end(self, result: Result) -> bytes:
        return _line(self._last("", result))

    def failed(self, text: str) -> bytes:
        return _line({"error": text})

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
