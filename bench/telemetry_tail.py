"""Whether telemetry of 64 instances and 256 GPUs moves the decision's tail: p50 and p99 with it and without it.

A child process sends requests at a steady rate, as datagrams that carry their time; the agent, put together as
`pointsman serve` does it, decides each. Three arms take turns in one run and one event loop, a slice each: nobody
reads anything; another process reads everything; the agent does. The Ollamas and GPU hosts that are read run on the
same machine here, and what they take from its cores and caches is no part of the agent: so the second arm is what the
third is held against. Three times are taken: of the decision alone (`decide`), of the CPU in it, and from sending to
decided, in which a request also waits for whatever else the loop does. Each slice has percentiles of its own, and of
these the median counts. Run it: python -m bench.telemetry_tail
"""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field, fields
from statistics import median
from typing import NamedTuple

import click
import structlog
import uvloop
from rich.console import Console
from rich.table import Table

from bench.big_fleet import MODELS, ReadBy, Size, assembled, model, other_side
from spoe_agent.agent.agent import Agent
from spoe_agent.assemble import Runs
from spoe_agent.haproxy.limiter import Limiter
from spoe_agent.routing import Action, Dialect, Kind, RequestFacts
from spoe_agent.routing.names import canonical

SETTLE_S = 2.0
"""At the start of a slice, not counted: sources that are started anew read at once, and so does another process."""

IN_FLIGHT = 128


@dataclass(frozen=True, slots=True)
class Plan:
    """What to run."""

    slice_s: float = 3.0
    slices: int = 10
    """Of each arm."""
    rate_per_s: float = 200.0
    size: Size = field(default_factory=Size)


@dataclass(frozen=True, slots=True)
class Tail:
    """One arm, in microseconds: medians over its slices."""

    arm: str
    requests: int
    decide_p50_us: float
    decide_p99_us: float
    cpu_p50_us: float
    cpu_p99_us: float
    answer_p50_us: float
    answer_p99_us: float


class Times(NamedTuple):
    """Of one request, in seconds."""

    decide_s: float
    cpu_s: float
    answer_s: float


class Requests(asyncio.DatagramProtocol):
    """Decides what comes, and keeps the times. The oldest request ends when there are too many in flight."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent
        self._in_flight: deque[str] = deque()
        self._models = [canonical(name) for name in map(model, range(MODELS))]
        self._number = 0
        self.times: list[Times] | None = None
        """None: not kept now."""

    def datagram_received(self, data: bytes, addr: object) -> None:
        """Decide one request."""
        self._number += 1
        model = self._models[self._number * 5 % len(self._models)]
        facts = RequestFacts(f"r{self._number}", Kind.INFERENCE, Dialect.OLLAMA, model)
        begun_s, cpu_s = time.monotonic(), time.thread_time()
        choice = self._agent.decide(facts)
        cpu_s, decided_s = time.thread_time() - cpu_s, time.monotonic()
        if self.times is not None:
            self.times.append(Times(decided_s - begun_s, cpu_s, decided_s - float(data)))
        if choice.action is Action.ROUTE:
            self._in_flight.append(facts.request_id)
        if len(self._in_flight) > IN_FLIGHT:
            self._agent.ended(self._in_flight.popleft())


def send(port: int, rate_per_s: float) -> None:
    """Send requests for ever, each with the monotonic second of its sending."""
    sock, due_s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM), time.monotonic()
    while True:
        due_s += 1 / rate_per_s
        time.sleep(max(0.0, due_s - time.monotonic()))  # this process does nothing else
        sock.sendto(repr(time.monotonic()).encode(), ("127.0.0.1", port))


@asynccontextmanager
async def stream(agent: Agent, rate_per_s: float) -> AsyncIterator[Requests]:
    """Have a child process send requests for as long as this is open."""
    loop = asyncio.get_running_loop()
    transport, requests = await loop.create_datagram_endpoint(lambda: Requests(agent), local_addr=("127.0.0.1", 0))
    port = transport.get_extra_info("sockname")[1]
    arguments = ("-m", "bench.telemetry_tail", "--send-to", str(port), "--rate", str(rate_per_s))
    child = subprocess.Popen([sys.executable, *arguments])
    try:
        yield requests
    finally:
        child.kill()
        child.wait()
        transport.close()


class ElsewhereRuns:
    """Reads everything in another process, and gives it to nobody."""

    def __init__(self, ports: Sequence[int]) -> None:
        self._ports = ports

    async def run(self) -> None:
        """Read until cancelled."""
        child = subprocess.Popen([sys.executable, "-m", "bench.telemetry_tail", "--read-from", json.dumps(self._ports)])
        try:
            await asyncio.Event().wait()
        finally:
            child.kill()
            child.wait()


async def read(ports: Sequence[int]) -> None:
    """Read everything for ever."""
    async with assembled(Size(), ports, ReadBy.POINTSMAN) as (_, parts):
        await parts.run()


async def one_slice(requests: Requests, runs: Sequence[Runs], seconds: float) -> list[Times]:
    """Return the times of one slice in which these run."""
    tasks = [asyncio.ensure_future(one.run()) for one in runs]
    await asyncio.sleep(SETTLE_S)
    found: list[Times] = []
    requests.times = found
    await asyncio.sleep(seconds)
    requests.times = None
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return found


async def run(plan: Plan) -> list[Tail]:
    """Measure the arms in turns."""
    async with (
        other_side(plan.size) as ports,
        assembled(plan.size, ports, ReadBy.POINTSMAN) as (fleet, parts),
        stream(parts.agent, plan.rate_per_s) as requests,
    ):
        everything: Sequence[Runs] = [parts, Limiter(fleet, parts.agent, parts.watch)]
        arms: dict[str, Sequence[Runs]] = {"none": (), "elsewhere": (ElsewhereRuns(ports),), "in the agent": everything}
        return await in_turns(requests, arms, plan.slices, plan.slice_s)


async def in_turns(requests: Requests, arms: Mapping[str, Sequence[Runs]], slices: int, slice_s: float) -> list[Tail]:
    """Measure arms in turns. The last one runs once before: all was read and made then, and no arm is the first."""
    found: dict[str, list[list[Times]]] = {arm: [] for arm in arms}
    await one_slice(requests, [*arms.values()][-1], slice_s)
    gc.collect()
    gc.freeze()
    for _ in range(slices):
        for arm, runs in arms.items():
            found[arm].append(await one_slice(requests, runs, slice_s))
    return [tail(arm, times) for arm, times in found.items()]


def tail(arm: str, slices: Sequence[Sequence[Times]]) -> Tail:
    """Return an arm's percentiles. Slices in which nothing came do not count."""

    def at(which: int, part: float) -> float:
        ordered = [sorted(one[which] for one in times) for times in slices if times]
        found = [times[min(len(times) - 1, int(part * len(times)))] for times in ordered]
        return round(1e6 * median(found), 1) if found else 0.0

    percentiles = [at(which, part) for which in range(len(Times._fields)) for part in (0.5, 0.99)]
    return Tail(arm, sum(map(len, slices)), *percentiles)


def table(what: str, tails: Sequence[Tail]) -> Table:
    """Return three arms, and the last one over the one in the middle."""
    found = Table(what, *(one.arm for one in tails), f"{tails[2].arm} / {tails[1].arm}")
    for row in fields(Tail)[2:]:
        none, elsewhere, here = (getattr(one, row.name) for one in tails)
        ratio = f"{here / elsewhere:.2f}" if elsewhere else "-"
        name = row.name.removesuffix("_us").replace("_", " ")
        found.add_row(name, *(f"{value:.0f} µs" for value in (none, elsewhere, here)), ratio)
    found.caption = " and ".join(f"{one.requests} requests with {one.arm}" for one in tails)
    return found


@click.command()
@click.option("--slices", type=click.IntRange(min=1), default=10, show_default=True, help="Of each arm.")
@click.option("--rate", type=click.FloatRange(min=1), default=200.0, show_default=True, help="Requests per second.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@click.option("--send-to", type=int, hidden=True, help="Be the sender, to this port.")
@click.option("--read-from", hidden=True, help="Be the other process, with these ports of Ollamas.")
def main(slices: int, rate: float, as_json: bool, send_to: int | None, read_from: str | None) -> None:
    """Measure what telemetry of 64 instances and 256 GPUs does to the decision's p99."""
    if send_to is not None:
        send(send_to, rate)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        if read_from is not None:
            runner.run(read(json.loads(read_from)))
        tails = runner.run(run(Plan(slices=slices, rate_per_s=rate)))
    if as_json:
        click.echo(json.dumps([asdict(one) for one in tails], indent=1))
    else:
        Console().print(table("telemetry", tails))


if __name__ == "__main__":
    main()
