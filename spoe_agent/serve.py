"""`pointsman serve`: puts the agent together, runs it until SIGTERM or SIGINT, drains.

Lives here: who is connected to whom, and in which order things start and stop. Must not live here: anything that
any of them does.
"""

from __future__ import annotations

import asyncio
import gc
import signal
from contextlib import AsyncExitStack
from dataclasses import dataclass

import aiohttp
import structlog

from spoe_agent.agent import Agent
from spoe_agent.fleet import Fleet, specs
from spoe_agent.server import Server
from spoe_agent.telemetry.board import Board
from spoe_agent.telemetry.haproxy_log import HAProxyLog
from spoe_agent.telemetry.ollama import OllamaClient
from spoe_agent.telemetry.poll import Poller, Timing

log = structlog.get_logger()

DRAIN_DEADLINE_S = 5.0


@dataclass(frozen=True, slots=True)
class Parts:
    """An agent and what keeps it informed. `pollers` run for as long as the front end does."""

    agent: Agent
    board: Board
    pollers: tuple[Poller, ...]


async def assemble(fleet: Fleet, session: aiohttp.ClientSession) -> Parts:
    """Return an agent for a fleet, with its first readings taken, so that answers come before questions."""
    board = Board()
    poll = fleet.policies.poll
    timing = Timing(interval_s=poll.interval, lists_interval_s=poll.tags_interval)
    pollers = tuple(
        Poller(instance.name, OllamaClient(session, instance.url, poll.timeout), board.publish, timing)
        for instance in fleet.instances
    )

    async def refresh() -> None:
        await asyncio.gather(*(poller.refresh_lists() for poller in pollers))

    await refresh()
    return Parts(Agent(specs(fleet), board, refresh), board, pollers)


async def serve(fleet: Fleet) -> None:
    """Run the agent until SIGTERM or SIGINT, then drain. Raises OSError when an address cannot be used."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with aiohttp.ClientSession() as session, AsyncExitStack() as stack:
        parts = await assemble(fleet, session)
        ended = HAProxyLog(fleet.listeners.log.host, fleet.listeners.log.port, parts.board.end)
        stack.callback(ended.close)
        ended.start()
        server = Server(parts.agent)
        for listen in fleet.listeners.spop:
            await server.listen(listen)
        # What lives until the end is never garbage: keep the collector's pauses short.
        gc.collect()
        gc.freeze()
        log.info("ready", spop=[str(listen) for listen in fleet.listeners.spop], instances=len(fleet.instances))
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(poller.run()) for poller in parts.pollers]
            await stop.wait()
            log.info("draining", in_flight=parts.board.grants)
            await server.drain(DRAIN_DEADLINE_S)
            for task in tasks:
                task.cancel()
    log.info("stopped")
