"""Whether the dashboard moves the decision's tail: p50 and p99 while nobody looks, and while three viewers do.

A child process sends requests at a steady rate to an agent of 64 instances and 256 GPUs, which reads all of them and
decides each. Three arms take turns in one run and one event loop, a slice each: nobody looks; three viewers look at
another agent's dashboard, in a process of its own; they look at this one's. What viewers, and a second agent, take from
the machine's cores and caches is no part of this agent: so the second arm is what the third is held against. Each slice
has percentiles of its own, and of these the median counts. Run it: python -m bench.dashboard_tail
"""

from __future__ import annotations

import asyncio
import json
import logging
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import asdict, dataclass, field

import aiohttp
import click
import structlog
import uvloop
from aiohttp import web
from rich.console import Console

from bench.big_fleet import ReadBy, Size, assembled, other_side
from bench.telemetry_tail import Requests, Tail, in_turns, stream, table
from spoe_agent.admin.status import status
from spoe_agent.assemble import Parts, Runs
from spoe_agent.dashboard.app import Dashboard
from spoe_agent.dashboard.trend import Trend
from spoe_agent.fleet import Listen
from spoe_agent.haproxy.contact import Contact
from spoe_agent.haproxy.limiter import Limiter
from spoe_agent.process.listening import bind
from spoe_agent.rig.process import free_port

VIEWERS = 3


@dataclass(frozen=True, slots=True)
class Plan:
    """What to run."""

    slices: int = 20
    """Of each arm."""
    slice_s: float = 3.0
    rate_per_s: float = 100.0
    size: Size = field(default_factory=Size)


@asynccontextmanager
async def shown(parts: Parts, limiter: Limiter) -> AsyncIterator[int]:
    """Show a fleet; give the port."""
    contact = Contact()

    def now(now_s: float, most_held: int | None) -> dict[str, object]:
        return status(parts, limiter, contact, 0.0, now_s, most_held=most_held)

    runner = web.AppRunner(Dashboard(parts.agent, now, Trend(parts.agent, contact)).application(), access_log=None)
    await runner.setup()
    port = free_port()
    await web.SockSite(runner, bind(Listen("127.0.0.1", port))).start()
    try:
        yield port
    finally:
        await runner.cleanup()


async def look(port: int) -> None:
    """Be so many viewers, for ever."""

    async def one(session: aiohttp.ClientSession) -> None:
        async with session.get(f"http://127.0.0.1:{port}/events") as answer:
            async for _ in answer.content.iter_any():
                pass

    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None)) as session:
        await asyncio.gather(*(one(session) for _ in range(VIEWERS)))


async def serve(ports: Sequence[int]) -> None:
    """Be another agent, for ever; print its port."""
    async with AsyncExitStack() as stack:
        fleet, parts = await stack.enter_async_context(assembled(Size(), ports, ReadBy.POINTSMAN))
        limiter = Limiter(fleet, parts.agent, parts.watch)
        print(await stack.enter_async_context(shown(parts, limiter)), flush=True)
        await asyncio.Event().wait()


@contextmanager
def child(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Run this module in a process of its own for as long as this is open."""
    command = [sys.executable, "-m", "bench.dashboard_tail", *arguments]
    running = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        yield running
    finally:
        running.kill()
        running.wait()


class Looking:
    """Three viewers of one port, while it runs."""

    def __init__(self, port: int) -> None:
        self._port = port

    async def run(self) -> None:
        """Look until cancelled."""
        with child("--look", str(self._port)):
            await asyncio.Event().wait()


async def run(plan: Plan) -> list[Tail]:
    """Measure the arms in turns."""
    async with AsyncExitStack() as stack:
        ports = await stack.enter_async_context(other_side(plan.size))
        other = stack.enter_context(child("--serve", json.dumps(list(ports))))
        assert other.stdout is not None
        other_port = int(await asyncio.to_thread(other.stdout.readline))
        fleet, parts = await stack.enter_async_context(assembled(plan.size, ports, ReadBy.POINTSMAN))
        limiter = Limiter(fleet, parts.agent, parts.watch)
        port = await stack.enter_async_context(shown(parts, limiter))
        requests: Requests = await stack.enter_async_context(stream(parts.agent, plan.rate_per_s))
        reads: tuple[Runs, ...] = (parts, limiter)
        arms: dict[str, tuple[Runs, ...]] = {
            "nobody": reads,
            "another agent's": (*reads, Looking(other_port)),
            "this agent's": (*reads, Looking(port)),
        }
        return await in_turns(requests, arms, plan.slices, plan.slice_s)


@click.command()
@click.option("--slices", type=click.IntRange(min=1), default=20, show_default=True, help="Of each arm.")
@click.option("--rate", type=click.FloatRange(min=1), default=100.0, show_default=True, help="Requests per second.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@click.option("--look", "port", type=int, hidden=True, help="Be the viewers, of this port.")
@click.option("--serve", "ports", hidden=True, help="Be the other agent, with these ports of Ollamas.")
def main(slices: int, rate: float, as_json: bool, port: int | None, ports: str | None) -> None:
    """Measure what three viewers of the dashboard do to the decision's p99."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        if port is not None:
            runner.run(look(port))
        if ports is not None:
            runner.run(serve(json.loads(ports)))
        tails = runner.run(run(Plan(slices, rate_per_s=rate)))
    if as_json:
        click.echo(json.dumps([asdict(one) for one in tails], indent=1))
    else:
        Console().print(table("three viewers of", tails))


if __name__ == "__main__":
    main()
