"""What one decision takes that needs no holding: of HAProxy with an instance behind it, and of the agent alone."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import quantiles
from typing import Self

from bench.held.clients import Caller
from bench.held.rig import ObservedStack
from spoe_agent.haproxy.contract import Question
from spoe_agent.rig.process import RigError
from spoe_agent.spop import Hello, Message, Value, encode_haproxy_hello, encode_notify

MAX_FRAME_BYTES = 16_380
PAUSE_S = 0.002
"""Between two probes, so that they do not take all of a processor themselves."""


@dataclass(frozen=True, slots=True)
class Times:
    """Percentiles of one way to ask."""

    number: int
    p50_ms: float
    p99_ms: float


def times(seconds: Sequence[float]) -> Times:
    """Return the percentiles of at least two samples."""
    cuts = quantiles(seconds, n=100, method="inclusive")
    return Times(len(seconds), 1000 * cuts[49], 1000 * cuts[98])


@dataclass(frozen=True, slots=True)
class FastPath:
    """Both ways in one phase."""

    client: Times
    """Request through HAProxy to a free instance, until its headers."""
    decision: Times
    """NOTIFY to the agent until its ACK, without HAProxy."""


class AgentProbe:
    """Asks the agent as HAProxy does, and tells it of the end as HAProxy's log does."""

    def __init__(self, stack: ObservedStack, model: str, instance: str) -> None:
        self._stack = stack
        self._model = model
        self._instance = instance
        self._asked = 0
        self._log = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._reader: asyncio.StreamReader
        self._writer: asyncio.StreamWriter

    async def __aenter__(self) -> Self:
        at = self._stack.fleet.listeners.spop[0]
        self._reader, self._writer = await asyncio.open_connection(at.host, at.port)
        self._writer.write(encode_haproxy_hello(Hello(MAX_FRAME_BYTES, ("pipelining",), "probe")))
        await self._frame()
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._writer.close()
        self._log.close()

    async def ask(self) -> float:
        """Return the seconds until the answer. Raises RigError when it is not the instance."""
        self._asked += 1
        name = f"probe {self._asked}"
        body = json.dumps({"model": self._model}).encode()
        args: dict[str, Value] = {"id": name, "method": "POST", "path": "/api/chat", "caller": "probe", "head": body}
        message = Message(Question.READ, {**args, "size": len(body), "seen": len(body)})
        notify = encode_notify(self._asked, 1, [message])
        begun_s = time.perf_counter()
        self._writer.write(notify)
        answer = await self._frame()
        took_s = time.perf_counter() - begun_s
        if self._instance.encode() not in answer:
            raise RigError(f"the agent did not choose {self._instance}: {answer!r}")
        line = {"id": name, "server": self._instance, "status": 200, "termination": "--"}
        ended = json.dumps({**line, "first_byte_ms": 1, "data_ms": 0, "bytes": 300, "retries": "0"})
        at = self._stack.fleet.listeners.log
        self._log.sendto(ended.encode(), (at.host, at.port))
        return took_s

    async def _frame(self) -> bytes:
        size = int.from_bytes(await self._reader.readexactly(4))
        return await self._reader.readexactly(size)


async def fast_path(stack: ObservedStack, model: str, instance: str, number: int) -> FastPath:
    """Ask both ways, in turn, so many times."""
    through: list[float] = []
    alone: list[float] = []
    async with AgentProbe(stack, model, instance) as agent, await Caller.connect(stack.port, "probe") as caller:
        for _ in range(number):
            caller.ask(model)
            answer = await caller.answer()
            if answer.status != 200:
                raise RigError(f"the fast path answered {answer.status} {answer.reason}")
            through.append(answer.wait_s)
            await asyncio.sleep(PAUSE_S)
            alone.append(await agent.ask())
            await asyncio.sleep(PAUSE_S)
    return FastPath(times(through), times(alone))
