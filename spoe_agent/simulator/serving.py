"""Serving one ask in any dialect: wait, stream token by token or answer whole, and clean up when the client leaves.

Nothing is sent, no headers either, before the first token exists: Ollama flushes them with the first chunk
(routes.go:2097-2144).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import NoReturn, Protocol

import zstandard
from aiohttp import web

from spoe_agent.simulator.asks import Ask
from spoe_agent.simulator.clock import ScaledClock
from spoe_agent.simulator.engine import EngineTicket
from spoe_agent.simulator.errors import BadBody, OllamaError
from spoe_agent.simulator.go_json import decode
from spoe_agent.simulator.go_structs import STRUCTS
from spoe_agent.simulator.state import RECORD, instance_of
from spoe_agent.simulator.words import words
from spoe_agent.simulator.work import Finished, Rejected, Task

# Below this a stream would wake up for every token at high time scales; tokens that exist by then go out together.
_MIN_PAUSE_S = 0.002
_MAX_DECOMPRESSED_BYTES = 20 * 1024 * 1024
"""Ollama's own cap (cloud_proxy.go:36)."""
_BUFFER_BYTES = 2048
"""Go's net/http sends a larger body in chunks, because it does not know its length when the headers go out."""

JSON = "application/json; charset=utf-8"
BARE_JSON = "application/json"
"""What Ollama's translators to OpenAI's and Anthropic's dialects write."""


@dataclass(frozen=True, slots=True)
class Result:
    """The figures of a served request, in real nanoseconds and tokens."""

    done_reason: str
    prompt_tokens: int
    output_tokens: int
    total_ns: int
    load_ns: int
    prompt_eval_ns: int
    eval_ns: int


class AnswerFormat(Protocol):
    """One API's way to write an answer."""

    headers: Mapping[str, str]
    """Of a stream, Content-Type included."""
    media: str
    """Content-Type of a whole answer."""

    def begin(self) -> bytes:
        """What goes out before the first token, together with it."""

    def token(self, text: str) -> bytes:
        """One token."""

    def end(self, result: Result) -> bytes:
        """What tells the client that the stream is complete."""

    def failed(self, text: str) -> bytes:
        """What remains of an error in mid-stream."""

    def whole(self, text: str, result: Result) -> object:
        """The answer without streaming, to be written as JSON."""


async def read_fields(request: web.Request) -> dict[str, object]:
    """The fields of a JSON body; only /v1 takes zstd (middleware/openai.go:23). Raises BadBody."""
    body = await request.read()
    is_v1 = request.path.startswith("/v1/")
    if is_v1 and request.headers.get("Content-Encoding", "").lower() == "zstd":
        try:
            with zstandard.ZstdDecompressor().stream_reader(body) as reader:
                body = reader.read(_MAX_DECOMPRESSED_BYTES)
        except zstandard.ZstdError:
            raise BadBody("failed to decode zstd request body") from None
    fields = decode(body, STRUCTS[request.path], empty="EOF" if is_v1 else "missing request body")
    model = fields.get("model") or fields.get("name")
    request[RECORD].model = model if isinstance(model, str) else None
    return fields


async def serve_lines(request: web.Request, lines: AsyncIterator[Mapping[str, object]]) -> web.StreamResponse:
    """Answer with one JSON value per line as they come. What goes wrong before the first is an ordinary error, and
    later it is the last line (routes.go streamResponse).
    """
    response: web.StreamResponse | None = None
    try:
        async for line in lines:
            if response is None:
                response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
                response.enable_chunked_encoding()
                await response.prepare(request)
            await response.write(_line(line))
    except OllamaError as error:
        if response is None:
            error.streamed = True
            raise
        await response.write(_line({"error": error.text}))
    if response is None:
        return web.Response(status=200)
    await response.write_eof()
    return response


def _line(value: Mapping[str, object]) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"


def json_answer(value: object, status: int = 200, media: str = JSON, chunked: bool = False) -> web.Response:
    """JSON as gin writes it, or with a newline after it as Go's encoder does."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False) + ("\n" if media == BARE_JSON else "")
    response = web.Response(body=text.encode(), status=status, headers={"Content-Type": media})
    if chunked or len(text) > _BUFFER_BYTES:
        response.enable_chunked_encoding()
    return response


async def serve(
    request: web.Request, ask: Ask, dialect: AnswerFormat, refusal: OllamaError | None = None
) -> web.StreamResponse:
    """Serve an ask for text, as a stream or whole. ``refusal`` is what comes instead once there is a runner."""
    try:
        if refusal is not None:
            await served(request, replace(ask, work=replace(ask.work, kind=Task.PRELOAD)))
            raise refusal
        if not ask.stream:
            result = await served(request, ask)
            text = "".join(words(ask.seed, 0, ask.work.output_tokens))
            return json_answer(dialect.whole(text, result), media=dialect.media)
        async with _submitted(request, ask) as ticket:
            return await _stream(request, ask, ticket, dialect)
    except OllamaError as error:
        error.streamed = ask.stream and error is refusal
        raise


async def served(request: web.Request, ask: Ask) -> Result:
    """Serve an ask to its end without sending anything."""
    async with _submitted(request, ask) as ticket:
        return result_of(ask, _finished(await ticket.done), instance_of(request).engine.clock)


@asynccontextmanager
async def _submitted(request: web.Request, ask: Ask) -> AsyncIterator[EngineTicket]:
    """The ask in the engine. When the client leaves, aiohttp cancels the handler and the ask's place is freed."""
    instance = instance_of(request)
    await instance.faults.before_answer(ask.work.model.name)
    ticket = instance.engine.submit(ask.work)
    try:
        yield ticket
    finally:
        instance.engine.cancel(ticket)


async def _stream(request: web.Request, ask: Ask, ticket: EngineTicket, dialect: AnswerFormat) -> web.StreamResponse:
    instance = instance_of(request)
    outcome = await ticket.first
    if isinstance(outcome, Rejected):
        raise OllamaError(outcome.status, outcome.text)
    response = web.StreamResponse(headers=dialect.headers)
    response.enable_chunked_encoding()
    await response.prepare(request)
    await response.write(dialect.begin())
    if await _write_tokens(request, response, ask, ticket, dialect):
        ended = await ticket.done
        if isinstance(ended, Rejected):
            await response.write(dialect.failed(ended.text))
        else:
            await response.write(dialect.end(result_of(ask, ended, instance.engine.clock)))
    await response.write_eof()
    return response


async def _write_tokens(
    request: web.Request, response: web.StreamResponse, ask: Ask, ticket: EngineTicket, dialect: AnswerFormat
) -> bool:
    """Write each token when it exists; False if that shall be all, as when Ollama swallows an error in mid-stream."""
    engine, faults = instance_of(request).engine, instance_of(request).faults
    cut = faults.take("cut_stream", ticket.work.model.name) or faults.take("end_stream", ticket.work.model.name)
    sent, total = 0, ticket.work.output_tokens
    while sent < total:
        if ticket.done.done() and isinstance(ticket.done.result(), Rejected):
            return True
        have = engine.tokens_done(ticket)
        if cut is not None and have > cut.after_tokens:
            have = max(sent, cut.after_tokens)
        if have > sent:
            await response.write(b"".join(map(dialect.token, words(ask.seed, sent, have))))
            sent = have
        if cut is not None and sent >= cut.after_tokens:
            if cut.kind == "end_stream":
                return False
            await _cut(request)
        if sent < total and not ticket.done.done():
            await asyncio.wait([ticket.done], timeout=max(_MIN_PAUSE_S, engine.token_interval_s(ticket)))
    return True


async def _cut(request: web.Request) -> NoReturn:
    """Break the connection off in the middle of the stream. Losing it cancels the handler, so this never returns."""
    if request.transport is not None:
        request.transport.close()
    await asyncio.get_running_loop().create_future()
    raise AssertionError("a lost connection must cancel its handler")


def _finished(outcome: Finished | Rejected) -> Finished:
    """The end of a served request. Raises OllamaError if the scheduler refused it."""
    if isinstance(outcome, Rejected):
        raise OllamaError(outcome.status, outcome.text)
    return outcome


def result_of(ask: Ask, finished: Finished, clock: ScaledClock) -> Result:
    """The figures of a finished request in real time."""
    durations = finished.durations
    reasons = {Task.PRELOAD: "load", Task.UNLOAD: "unload"}
    return Result(
        done_reason=reasons.get(ask.work.kind, "length" if ask.stopped_by_limit else "stop"),
        prompt_tokens=ask.work.prompt_tokens,
        output_tokens=ask.work.output_tokens,
        total_ns=clock.real_ns(durations.total_s),
        # A warm request has no load time here; Ollama's is short but never 0, and Go would leave 0 out.
        load_ns=max(1, clock.real_ns(durations.load_s)),
        prompt_eval_ns=clock.real_ns(durations.prompt_eval_s),
        eval_ns=clock.real_ns(durations.eval_s),
    )
