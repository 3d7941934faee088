"""Anthropic's Messages API as Ollama speaks it: POST /v1/messages (anthropic/anthropic.go)."""

from __future__ import annotations

from aiohttp import web

from spoe_agent.simulator import asks, refusals, sse
from spoe_agent.simulator.errors import BadBody
from spoe_agent.simulator.go_json import string
from spoe_agent.simulator.serving import BARE_JSON, Result, read_fields, serve
from spoe_agent.simulator.state import instance_of

_STOP_REASONS = {"stop": "end_turn", "length": "max_tokens"}


async def messages(request: web.Request) -> web.StreamResponse:
    """POST /v1/messages."""
    fields = await read_fields(request)
    text = string(fields, "model")
    if not text:
        raise BadBody("model is required")
    limit = asks.positive(fields.get("max_tokens"))
    if limit is None:
        raise BadBody("max_tokens is required and must be positive")
    if not fields.get("messages"):
        raise BadBody("messages is required")
    model = refusals.find_model(instance_of(request).catalog, text)
    refusals.check_abilities(model, text, "chat", tools=fields.get("tools"))
    prompt, session = asks.conversation(fields["messages"])
    ask = asks.generation(text, model, prompt, limit, fields.get("stream") is True, {}, session)
    return await serve(request, ask, MessagesDialect(text, ask.work.id, ask.work.prompt_tokens))


class MessagesDialect:
    """The events of a streamed message: one block of text from message_start to message_stop."""

    headers = sse.SSE_HEADERS_NO_CACHE
    media = BARE_JSON

    def __init__(self, model_text: str, id: int, prompt_tokens: int) -> None:
        self._model_text = model_text
        self._id = f"msg_{id:024d}"
        self._prompt_tokens = prompt_tokens

    def begin(self) -> bytes:
        usage = {"input_tokens": self._prompt_tokens, "output_tokens": 0}
        block = {"type": "text", "text": ""}
        return sse.named({"type": "message_start", "message": self._message([], None, usage)}) + sse.named(
            {"type": "content_block_start", "index": 0, "content_block": block}
        )

    def token(self, text: str) -> bytes:
        delta = {"type": "text_delta", "text": text}
        return sse.named({"type": "content_block_delta", "index": 0, "delta": delta})

    def end(self, result: Result) -> bytes:
        delta = {"stop_reason": _STOP_REASONS[result.done_reason]}
        return (
            sse.named({"type": "content_block_stop", "index": 0})
            + sse.named({"type": "message_delta", "delta": delta, "usage": _usage(result)})
            + sse.named({"type": "message_stop"})
        )

    def failed(self, text: str) -> bytes:
        return b""  # the error is read as an answer that says nothing

    def whole(self, text: str, result: Result) -> object:
        content: list[object] = [{"type": "text", "text": text}]
        return self._message(content, _STOP_REASONS[result.done_reason], _usage(result))

    def _message(self, content: list[object], stop_reason: str | None, usage: dict[str, int]) -> object:
        head = {"id": self._id, "type": "message", "role": "assistant", "model": self._model_text}
        reason = {} if stop_reason is None else {"stop_reason": stop_reason}
        return head | {"content": content} | reason | {"usage": usage}


def _usage(result: Result) -> dict[str, int]:
    return {"input_tokens": result.prompt_tokens, "output_tokens": result.output_tokens}
