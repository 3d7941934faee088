"""OpenAI's Responses API as Ollama speaks it: POST /v1/responses (openai/responses.go)."""

from __future__ import annotations

import time
from collections.abc import Mapping

from aiohttp import web

from spoe_agent.simulator import asks, refusals, sse
from spoe_agent.simulator.go_json import string
from spoe_agent.simulator.serving import BARE_JSON, Result, read_fields, serve
from spoe_agent.simulator.state import instance_of


async def responses(request: web.Request) -> web.StreamResponse:
    """POST /v1/responses."""
    fields = await read_fields(request)
    text = string(fields, "model")
    model = refusals.find_model(instance_of(request).catalog, text)
    refusals.check_abilities(model, text, "chat", tools=fields.get("tools"))
    given = fields.get("input")
    prompt, session = (given, None) if isinstance(given, str) else asks.conversation(given)
    whole_prompt = string(fields, "instructions") + prompt
    limit = asks.positive(fields.get("max_output_tokens"))
    ask = asks.generation(text, model, whole_prompt, limit, fields.get("stream") is True, {}, session)
    return await serve(request, ask, ResponsesDialect(text, ask.work.id, fields))


class ResponsesDialect:
    """The numbered events of a streamed response: one message with one part of text."""

    headers = sse.SSE_HEADERS_NO_CACHE
    media = BARE_JSON

    def __init__(self, model_text: str, id: int, fields: Mapping[str, object]) -> None:
        self._model_text = model_text
        self._asked = {
            "instructions": string(fields, "instructions") or None,
            "tools": fields.get("tools") or [],
            "truncation": fields.get("truncation") or "disabled",
            "top_p": fields.get("top_p", 1.0),
            "temperature": fields.get("temperature", 1.0),
            "max_output_tokens": fields.get("max_output_tokens"),
            "background": fields.get("background", False),
        }
        self._response_id, self._item_id = f"resp_{id}", f"msg_{id}"
        self._created_at = int(time.time())
        self._sequence = 0
        self._text: list[str] = []

    def begin(self) -> bytes:
        started = self._response("in_progress", [], None)
        return (
            self._event("response.created", response=started)
            + self._event("response.in_progress", response=started)
            + self._event("response.output_item.added", output_index=0, item=self._item("in_progress", None))
            + self._part_event("response.content_part.added", part=_part(""))
        )

    def token(self, text: str) -> bytes:
        self._text.append(text)
        return self._part_event("response.output_text.delta", delta=text, logprobs=[])

    def end(self, result: Result) -> bytes:
        text = "".join(self._text)
        item = self._item("completed", text)
        return (
            self._part_event("response.output_text.done", text=text, logprobs=[])
            + self._part_event("response.content_part.done", part=_part(text))
            + self._event("response.output_item.done", output_index=0, item=item)
            + self._event("response.completed", response=self._response("completed", [item], result))
        )

    def failed(self, text: str) -> bytes:
        return b""  # the error is read as an answer that says nothing

    def whole(self, text: str, result: Result) -> object:
        return self._response("completed", [self._item("completed", text)], result)

    def _event(self, kind: str, **fields: object) -> bytes:
        numbered = {"type": kind, "sequence_number": self._sequence} | fields
        self._sequence += 1
        return sse.named(numbered)

    def _part_event(self, kind: str, **fields: object) -> bytes:
        return self._event(kind, item_id=self._item_id, output_index=0, content_index=0, **fields)

    def _item(self, status: str, text: str | None) -> object:
        content = [] if text is None else [_part(text)]
        head = {"id": self._item_id, "type": "message", "status": status}
        return head | {"role": "assistant", "content": content}

    def _response(self, status: str, output: list[object], result: Result | None) -> object:
        head = {"id": self._response_id, "object": "response", "created_at": self._created_at}
        completed_at = None if result is None else int(time.time())
        head |= {"completed_at": completed_at, "status": status, "model": self._model_text, "output": output}
        return head | _ALWAYS | self._asked | {"usage": None if result is None else _usage(result)}


_ALWAYS: dict[str, object] = dict.fromkeys(
    ("incomplete_details", "previous_response_id", "error", "reasoning", "max_tool_calls")
)
_ALWAYS |= dict.fromkeys(("safety_identifier", "prompt_cache_key"))
_ALWAYS |= dict.fromkeys(("presence_penalty", "frequency_penalty", "top_logprobs"), 0)
_ALWAYS |= {"tool_choice": "auto", "parallel_tool_calls": True, "text": {"format": {"type": "text"}}}
_ALWAYS |= {"store": False, "service_tier": "default", "metadata": {}}


def _usage(result: Result) -> object:
    tokens = {"input_tokens": result.prompt_tokens, "output_tokens": result.output_tokens}
    details = {"input_tokens_details": {"cached_tokens": 0}, "output_tokens_details": {"reasoning_tokens": 0}}
    return tokens | {"total_tokens": result.prompt_tokens + result.output_tokens} | details


def _part(text: str) -> object:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
