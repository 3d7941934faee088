"""The client of a live run: sends on schedule whatever the answers do (open loop), and notes what it sees."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import aiohttp

from spoe_agent.simulator.virtual.requests import SERVED, Request, RequestOutcome

BROKEN = 0
"""Status of a request whose connection broke, or whose stream ended without its last line."""

_START_S = 0.2
"""Real seconds between the first moment of the schedule and the call."""

_TAIL_BYTES = 128 * 1024
"""The last line of an answer is shorter: a real Ollama's has every token of the context, as a number."""

_WARM_NS = 1_000
"""The simulator says 1 ns of loading where there was none."""


@dataclass(frozen=True, slots=True)
class Sent:
    """One request of a live run. The record's times are the fleet's seconds, as in a discrete-event run."""

    record: RequestOutcome
    slip_s: float
    """Real seconds that it was sent late."""


class Client:
    """Sends one schedule to one front.

    Args:
        url: the front's.
        positions: each instance's place in the fleet, by name.
        time_scale: the fleet's seconds per real second.
        sent: called after each request that ended.
    """

    def __init__(self, url: str, positions: Mapping[str, int], time_scale: float, sent: Callable[[], None]) -> None:
        self._url = f"{url}/api/generate"
        self._positions = positions
        self._scale = time_scale
        self._sent = sent

    async def replay(self, requests: Sequence[Request]) -> list[Sent]:
        """Send every request when it is due, and return what became of each, in the order of the schedule."""
        loop = asyncio.get_running_loop()
        begun_s = loop.time() + _START_S
        connector, timeout = aiohttp.TCPConnector(limit=0), aiohttp.ClientTimeout(total=None)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
            async with asyncio.TaskGroup() as group:
                tasks = []
                for request in requests:
                    due_s = begun_s + request.at_s / self._scale
                    await asyncio.sleep(max(0.0, due_s - loop.time()))
                    tasks.append(group.create_task(self._send(session, request, begun_s)))
            return [task.result() for task in tasks]

    async def _send(self, session: aiohttp.ClientSession, request: Request, begun_s: float) -> Sent:
        loop = asyncio.get_running_loop()
        slip_s = loop.time() - begun_s - request.at_s / self._scale
        record = RequestOutcome(request)
        answer = _Answer(lambda: (loop.time() - begun_s) * self._scale)
        try:
            async with session.post(self._url, data=_body(request)) as response:
                record.server = self._positions.get(response.headers.get("x-pointsman", "").partition(" ")[0])
                record.status = response.status
                async for chunk in response.content.iter_any():
                    answer.take(chunk)
        except (aiohttp.ClientError, OSError):
            record.status = BROKEN
        record.ended_at_s = (loop.time() - begun_s) * self._scale
        if record.status == SERVED:
            self._conclude(record, answer)
        self._sent()
        return Sent(record, slip_s)

    def _conclude(self, record: RequestOutcome, answer: _Answer) -> None:
        """Read the last line: only with it is an answer whole."""
        end = answer.last_line()
        record.first_at_s = answer.first_at_s
        if not end.get("done"):
            record.status = BROKEN
            return
        load_ns = int(str(end.get("load_duration", 0)))
        record.load_wait_s = load_ns * self._scale / 1e9 if load_ns > _WARM_NS else 0.0


class _Answer:
    """The bytes of one answer as they come: when its first token was there, and its end."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._beginning = b""
        self._tail = b""
        self.first_at_s: float | None = None

    def take(self, chunk: bytes) -> None:
        """Note what came. Only until the first token that is not empty are lines parsed."""
        self._tail = (self._tail + chunk)[-_TAIL_BYTES:]
        if self.first_at_s is None:
            self._beginning += chunk
            lines = self._beginning.split(b"\n")[:-1]
            if any(_parsed(line).get("response") for line in lines):
                self.first_at_s = self._clock()
                self._beginning = b""

    def last_line(self) -> Mapping[str, object]:
        """Return the last line's fields; none when it is cut off."""
        return _parsed(self._tail.rstrip(b"\n").rpartition(b"\n")[2]) if self._tail.endswith(b"\n") else {}


def _parsed(line: bytes) -> Mapping[str, object]:
    try:
        value = json.loads(line)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _body(request: Request) -> bytes:
    """Return a streaming request of the right length: the simulator counts four characters a token.

    Each prompt begins otherwise: a real Ollama keeps what it has computed of the last one in a slot.
    """
    work = request.work
    fields = {
        "model": work.model.name,
        "prompt": f"{work.id:04}{'rail' * work.prompt_tokens}"[: 4 * work.prompt_tokens],
        "options": {"num_predict": work.output_tokens},
    }
    return json.dumps(fields).encode()
