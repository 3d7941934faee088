"""One slot that many want: the fleet, a request that takes the slot for ever, and a crowd of callers.

The slot is shared by three models of different priority, so that the order in which its instance sees requests is the
order in which they were granted.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from bench.held.clients import Answered, Caller
from bench.held.rig import ObservedStack, until
from bench.held.rule import Waiting
from spoe_agent.rig.process import free_port
from spoe_agent.rig.stack import Simulated

URGENT, NORMAL, PATIENT, FAST = "urgent", "normal", "patient", "fast"
PRIORITY = {URGENT: -1, NORMAL: 0, PATIENT: 1}
BUSY, FREE = "busy", "free"
TIME_SCALE = 1000.0
FOR_EVER_TOKENS = 10**9
CONNECTING_AT_ONCE = 100
SETTLE_S = 1.0
DEADLINE_S = 300.0


def stack(binary: str, folder: Path, hold_timeout: str) -> ObservedStack:
    """Return a stack, not started: an instance with one slot for three models, and one with plenty for a fourth."""
    instances = [
        {"name": BUSY, "url": f"http://127.0.0.1:{free_port()}", "num_parallel": 1, "max_connections": 1},
        {"name": FREE, "url": f"http://127.0.0.1:{free_port()}"},
    ]
    models = [{"match": name, "instances": [BUSY], "priority": number} for name, number in PRIORITY.items()]
    models.append({"match": FAST, "instances": [FREE]})
    # The request that runs for ever is silent for as long: nobody should look into it.
    policies = {"hold_timeout": hold_timeout, "health": {"stall": "1h"}}
    like = Simulated(
        models=[(f"{name}:latest", "4.7GB") for name in (*PRIORITY, FAST)],
        max_loaded_models=len(PRIORITY),
        time_scale=TIME_SCALE,
    )
    settings = {"instances": instances, "models": models, "policies": policies}
    return ObservedStack(folder, binary, like, settings)


async def warm(own: ObservedStack) -> None:
    """Load every model where it belongs."""
    await own.warm(BUSY, *PRIORITY)
    await own.warm(FREE, FAST)


class Crowd:
    """Callers that each send one request, and their answers."""

    def __init__(self, own: ObservedStack) -> None:
        self._own = own
        self._callers: list[Caller] = []
        self._answers: list[asyncio.Future[Answered]] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        for answer in self._answers:
            answer.cancel()
        await asyncio.gather(*self._answers, return_exceptions=True)
        for caller in self._callers:
            caller.close()

    async def send(self, asks: Sequence[tuple[str, str]], per_s: float | None, tokens: int = 1) -> float:
        """Send a request for each key and model, so many a second; None: all in the same instant. To be called once.

        Return the seconds from the first to the last.
        """
        for first in range(0, len(asks), CONNECTING_AT_ONCE):
            some = asks[first : first + CONNECTING_AT_ONCE]
            self._callers += await asyncio.gather(*(Caller.connect(self._own.port, key) for key, _ in some))
        begun_s = time.monotonic()
        for number, (caller, (_, model)) in enumerate(zip(self._callers, asks, strict=True)):
            if per_s is not None:
                await asyncio.sleep(begun_s + number / per_s - time.monotonic())
            caller.ask(model, tokens)
            self._answers.append(asyncio.ensure_future(caller.answer()))
        return time.monotonic() - begun_s

    async def answers(self) -> list[Answered]:
        """Return all answers, in the order in which they came. Raises TimeoutError."""
        async with asyncio.timeout(DEADLINE_S):
            return sorted(await asyncio.gather(*self._answers), key=lambda answer: answer.ended_at_s)


@asynccontextmanager
async def occupied(own: ObservedStack) -> AsyncIterator[None]:
    """The slot is taken until the context ends."""
    async with await Caller.connect(own.port, "occupant") as occupant:
        occupant.ask(NORMAL, FOR_EVER_TOKENS)

        async def is_running() -> bool:
            return bool((await own.sim(BUSY, "stats"))["in_flight"])

        await until(is_running, 20, "the slot is taken")
        yield


async def steady(own: ObservedStack) -> list[Waiting]:
    """Wait until the held queue grows no more, and return who is in it, oldest first."""
    before: list[Waiting] | None = None
    while True:
        held = (await own.status())["hold"]["requests"]
        now = [Waiting(one["id"], one["priority"], one["caller"]) for one in held]
        if now == before:
            return now
        before = now
        await asyncio.sleep(SETTLE_S)


@dataclass(frozen=True, slots=True)
class Wait:
    """The longest that anybody of a key and class waited for its answer."""

    key: str
    model: str
    requests: int
    longest_s: float


def waits(answers: Sequence[Answered]) -> list[Wait]:
    """Return the longest waits, of the key and class with the longest first."""
    groups: dict[tuple[str, str], list[float]] = {}
    for answer in answers:
        groups.setdefault((answer.key, answer.model), []).append(answer.wait_s)
    found = [Wait(*group, len(seconds), max(seconds)) for group, seconds in groups.items()]
    return sorted(found, key=lambda wait: -wait.longest_s)


async def served_order(own: ObservedStack) -> list[str]:
    """Return the ids of requests as the busy instance saw them."""
    return [seen["request_id"] for seen in (await own.sim(BUSY, "requests"))["requests"] if seen["request_id"]]
