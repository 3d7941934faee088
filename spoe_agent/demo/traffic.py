"""Mixed requests in all dialects, sent on a schedule and recorded.

Lives here: what clients do, and what they see.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

import aiohttp

TIMEOUT_S = 300.0


@dataclass(frozen=True, slots=True)
class Answered:
    """What one client saw of its request."""

    model: str
    instance: str
    reason: str
    """Why that instance, as `x-pointsman` says."""
    status: int
    failed: bool
    ttft_s: float
    """From sending to the first byte of the body."""


@dataclass(frozen=True, slots=True)
class DemoModel:
    """A model that traffic may ask for."""

    name: str
    embeds: bool = False


def zipf(models: Sequence[DemoModel], seed: int) -> Callable[[], DemoModel]:
    """Return a source of models, the n-th asked for in proportion to 1/n: as uneven as traffic is."""
    source = random.Random(seed)
    weights = list(itertools.accumulate(1 / rank for rank in range(1, len(models) + 1)))
    return lambda: source.choices(models, cum_weights=weights)[0]


def request_of(number: int, model: DemoModel) -> tuple[str, dict[str, object]]:
    """Return path and body of the n-th request: each dialect in turn, streaming and not."""
    if model.embeds:
        bodies: list[tuple[str, dict[str, object]]] = [
            ("/api/embed", {"model": model.name, "input": "points and signals"}),
            ("/v1/embeddings", {"input": "points and signals", "model": model.name}),
        ]
        return bodies[number % len(bodies)]
    messages = [{"role": "user", "content": f"Tell me about junction {number}."}]
    options = {"num_predict": 16}
    bodies = [
        ("/api/chat", {"model": model.name, "messages": messages, "options": options}),
        # openai-python's order: the model comes last.
        ("/v1/chat/completions", {"messages": messages, "max_tokens": 16, "stream": True, "model": model.name}),
        ("/api/generate", {"model": model.name, "prompt": "Points?", "stream": False, "options": options}),
        ("/v1/messages", {"max_tokens": 16, "messages": messages, "model": model.name, "stream": True}),
    ]
    return bodies[number % len(bodies)]


async def send(session: aiohttp.ClientSession, url: str, number: int, model: DemoModel) -> Answered:
    """Send one request, read its answer to the end, and return what was seen."""
    path, body = request_of(number, model)
    begun = time.monotonic()
    try:
        async with session.post(url + path, json=body) as response:
            first = await response.content.readany()
            ttft_s = time.monotonic() - begun
            last = first
            async for chunk in response.content.iter_any():
                last = chunk
            instance, _, reason = response.headers.get("x-pointsman", "- -").partition(" ")
            failed = response.status != 200 or not _ended_well(path, body, last)
            return Answered(model.name, instance, reason, response.status, failed, ttft_s)
    except (aiohttp.ClientError, TimeoutError) as error:
        return Answered(model.name, "-", type(error).__name__, 0, True, time.monotonic() - begun)


def _ended_well(path: str, body: dict[str, object], last: bytes) -> bool:
    """A stream that breaks keeps its 200; only its last words tell (server/routes.go streamResponse)."""
    if path == "/v1/chat/completions" and body.get("stream"):
        return b"[DONE]" in last
    if path == "/v1/messages" and body.get("stream"):
        return b"message_stop" in last
    return b'"error"' not in last


async def schedule(
    send_one: Callable[[int], Coroutine[Any, Any, Answered]], requests: int | None, per_second: float
) -> AsyncIterator[Answered]:
    """Send on time whatever the answers do (open loop), yield each as it ends; `requests` None: until closed."""
    loop = asyncio.get_running_loop()
    done: asyncio.Queue[asyncio.Task[Answered]] = asyncio.Queue()
    running: set[asyncio.Task[Answered]] = set()
    begun = loop.time()
    sent = ended = 0
    # No TaskGroup: one must not be left by way of a yield.
    try:
        while requests is None or ended < requests:
            due = begun + sent / per_second
            if (requests is None or sent < requests) and loop.time() >= due:
                task = loop.create_task(send_one(sent))
                running.add(task)
                task.add_done_callback(done.put_nowait)
                sent += 1
                continue
            pause = max(0.0, due - loop.time()) if requests is None or sent < requests else TIMEOUT_S
            try:
                async with asyncio.timeout(pause):
                    task = await done.get()
            except TimeoutError:
                continue
            running.discard(task)
            ended += 1
            yield task.result()
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


def client() -> aiohttp.ClientSession:
    """Return a client without limits of its own."""
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=timeout)
