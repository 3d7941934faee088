"""OpenAI's API as Ollama speaks it: chat and text completions, embeddings (openai/openai.go, middleware/openai.go)."""

from __future__ import annotations

import base64
import struct
import time
from collections.abc import Mapping

from aiohttp import web

from spoe_agent.simulator import asks, refusals, sse
from spoe_agent.simulator.errors import BadBody, OllamaError
from spoe_agent.simulator.go_json import fold, string
from spoe_agent.simulator.serving import BARE_JSON, Result, json_answer, read_fields, serve, served
from spoe_agent.simulator.state import instance_of
from spoe_agent.simulator.words import vector

_EFFORTS = ("minimal", "low", "medium", "high", "xhigh", "ultra", "max", "none")


async def chat_completions(request: web.Request) -> web.StreamResponse:
    """POST /v1/chat/completions."""
    fields = await read_fields(request)
    text = string(fields, "model")
    if not fields.get("messages"):
        raise BadBody("[] is too short - 'messages'")
    thinks = _thinks(fields)
    model = refusals.find_model(instance_of(request).catalog, text)
    refusals.check_abilities(model, text, "chat", tools=fields.get("tools"), thinks=thinks)
    prompt, session = asks.conversation(fields["messages"])
    limit = asks.positive(fields.get("max_tokens"))
    ask = asks.generation(text, model, prompt, limit, fields.get("stream") is True, {}, session)
    return await serve(request, ask, ChatDialect(text, ask.work.id, _wants_usage(fields)))


async def completions(request: web.Request) -> web.StreamResponse:
    """POST /v1/completions; without a prompt it loads the model."""
    fields = await read_fields(request)
    text, prompt = string(fields, "model"), string(fields, "prompt")
    model = refusals.find_model(instance_of(request).catalog, text, is_required=False)
    refusals.check_abilities(model, text, "generate", inserts=bool(string(fields, "suffix")))
    if prompt:
        limit = asks.positive(fields.get("max_tokens"))
        ask = asks.generation(text, model, prompt, limit, fields.get("stream") is True, {})
    else:
        ask = asks.without_prompt(text, model, {})
    return await serve(request, ask, TextDialect(text, ask.work.id, _wants_usage(fields)))


async def embeddings(request: web.Request) -> web.StreamResponse:
    """POST /v1/embeddings; an empty text is a text."""
    fields = await read_fields(request)
    text, given = string(fields, "model"), fields.get("input")
    encoding = string(fields, "encoding_format")
    if encoding.lower() not in ("", "float", "base64"):
        raise BadBody(f"Invalid value for 'encoding_format' = {encoding}. Supported values: ['float', 'base64'].")
    if given is None or given == []:
        raise BadBody("invalid input")
    inputs = [""] if given == "" else asks.inputs_of(given)
    model = refusals.find_model(instance_of(request).catalog, text, refusals.PULL_FIRST, is_required=False)
    length = asks.positive(fields.get("dimensions")) or model.embedding_length
    result = await served(request, asks.embedding(text, model, inputs, {}))
    if not model.embedding_only:
        raise OllamaError(501, refusals.NO_EMBEDDINGS)
    as_base64 = encoding.lower() == "base64"
    vectors = [_encoded(vector(one, length), as_base64) for one in inputs]
    data = [{"object": "embedding", "embedding": one, "index": index} for index, one in enumerate(vectors)]
    usage = {"prompt_tokens": result.prompt_tokens, "total_tokens": result.prompt_tokens}
    return json_answer({"object": "list", "data": data, "model": text, "usage": usage}, media=BARE_JSON)


def _thinks(fields: Mapping[str, object]) -> bool:
    """True if the client wants the model to think. Raises BadBody for an effort that Ollama does not know."""
    effort = string(fields, "reasoning_effort") or string(fold(fields.get("reasoning")), "effort")
    if effort and effort not in _EFFORTS:
        choices = ", ".join(f'"{one}"' for one in _EFFORTS[:-1])
        raise BadBody(f'invalid reasoning value: "{effort}" (must be {choices}, or "none")')
    return effort not in ("", "none")


class ChatDialect:
    """SSE chunks of /v1/chat/completions: the role in the first, the reason to finish in one of its own."""

    headers = sse.SSE_HEADERS
    media = BARE_JSON
    _prefix, _object, _streamed = "chatcmpl", "chat.completion", "chat.completion.chunk"

    def __init__(self, model_text: str, id: int, usage: bool) -> None:
        self._head = {"id": f"{self._prefix}-{id}", "created": int(time.time()), "model": model_text}
        self._head["system_fingerprint"] = "fp_ollama"
        self._usage = usage
        self._role: dict[str, str] = {"role": "assistant"}

    def begin(self) -> bytes:
        return b""

    def token(self, text: str) -> bytes:
        delta, self._role = self._role | {"content": text}, {}
        return self._chunk([{"index": 0, "delta": delta, "finish_reason": None}])

    def end(self, result: Result) -> bytes:
        last = self._chunk([{"index": 0, "delta": {}, "finish_reason": result.done_reason}])
        # Ollama sends the figures in a chunk of their own, without choices.
        return last + (self._chunk([], usage_of(result)) if self._usage else b"") + sse.DONE

    def failed(self, text: str) -> bytes:
        # ChatWriter reads the error as an answer that says nothing: a chunk without content, and no [DONE].
        return self.token("")

    def whole(self, text: str, result: Result) -> object:
        head = {"object": self._object} | self._head
        return head | {"choices": [self._choice(text, result.done_reason)], "usage": usage_of(result)}

    def _chunk(self, choices: list[object], usage: object = None) -> bytes:
        chunk = {"object": self._streamed} | self._head | {"choices": choices}
        return sse.data(chunk if usage is None else chunk | {"usage": usage})

    def _choice(self, text: str, finish_reason: str) -> object:
        message = {"role": "assistant", "content": text}
        return {"index": 0, "message": message, "finish_reason": finish_reason}


class TextDialect(ChatDialect):
    """SSE chunks of /v1/completions: with usage wanted, each has it, all zeros."""

    _prefix, _object, _streamed = "cmpl", "text_completion", "text_completion"

    def token(self, text: str) -> bytes:
        return self._chunk([self._choice(text, None)], self._no_usage())

    def end(self, result: Result) -> bytes:
        last = self._chunk([self._choice("", result.done_reason)], self._no_usage())
        return last + (self._chunk([], usage_of(result)) if self._usage else b"") + sse.DONE

    def _choice(self, text: str, finish_reason: str | None) -> object:
        return {"text": text, "index": 0, "finish_reason": finish_reason}

    def _no_usage(self) -> object:
        return dict.fromkeys(("prompt_tokens", "completion_tokens", "total_tokens"), 0) if self._usage else None


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
