"""`pointsman serve`: puts the agent together, runs it until SIGTERM or SIGINT, drains.

Lives here: who is connected to whom, and in which order things start and stop. Must not live here: anything that
any of them does.
"""

from __future__ import annotations

import asyncio
import gc
import signal
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import aiohttp
import structlog

from spoe_agent.admin.app import Admin
from spoe_agent.admin.status import status
from spoe_agent.agent import Agent
from spoe_agent.agent_check import CheckServer, Guard
from spoe_agent.fleet import Fleet, specs
from spoe_agent.listening import Sockets
from spoe_agent.listening import take as take_addresses
from spoe_agent.server import Server
from spoe_agent.telemetry.board import Board
from spoe_agent.telemetry.haproxy_log import HAProxyLog, Line
from spoe_agent.telemetry.health import HealthPolicy
from spoe_agent.telemetry.http import unlimited_session
from spoe_agent.telemetry.learner import Learner
from spoe_agent.telemetry.ollama import OllamaClient
from spoe_agent.telemetry.poll import Poller, Timing
from spoe_agent.telemetry.statefile import Kept, restore, save
from spoe_agent.watch.gpus import GpuWatch
from spoe_agent.watch.limiter import Limiter
from spoe_agent.watch.probe import Target, probe
from spoe_agent.watch.watch import Watch

log = structlog.get_logger()

DRAIN_DEADLINE_S = 5.0

KEEP_INTERVAL_S = 60.0

TOLD_DEADLINE_S = 2.0
"""Whoever drains an instance waits so long until HAProxy knows; its `agent-inter` is 500 ms."""

TICK_S = 0.25
"""How often held requests are looked at for time alone."""


class Runs(Protocol):
    """Something that keeps the agent informed."""

    async def run(self) -> None:
        """Run until cancelled."""


@dataclass(frozen=True, slots=True)
class Parts:
    """An agent and what keeps it informed. `pollers` run for as long as the front end does."""

    agent: Agent
    board: Board
    pollers: tuple[Runs, ...]
    watch: Watch
    warnings: Callable[[], list[str]] = list
    """What the status says first: where the fleet file and the world do not go together."""


async def assemble(fleet: Fleet, session: aiohttp.ClientSession, learner: Learner | None = None) -> Parts:
    """Return an agent for a fleet, with its first readings taken, so that answers come before questions."""
    board = Board()
    poll = fleet.policies.poll
    timing = Timing(interval_s=poll.interval, lists_interval_s=poll.tags_interval)
    pollers: list[Poller] = []

    async def refresh() -> None:
        await asyncio.gather(*(poller.refresh_lists() for poller in pollers))

    clients = {
        instance.name: OllamaClient(session, instance.url, poll.timeout, instance.host_header)
        for instance in fleet.instances
    }

    async def unload(instance: str, model: str) -> None:
        await clients[instance].unload(model)

    agent = Agent(specs(fleet), board, refresh, learner=learner, unload=unload)
    instances = {instance.name: instance for instance in fleet.instances}

    async def ask(instance: str, what: Target, deadline_s: float) -> str:
        to = instances[instance]
        return await probe(session, to.url, what, deadline_s, to.host_header)

    watch = Watch(agent, _health_policy(fleet), ask)
    pollers += [Poller(name, client, watch.published, timing) for name, client in clients.items()]
    await refresh()
    gpus = GpuWatch(fleet, board, session)
    return Parts(agent, board, (*pollers, watch, gpus), watch, gpus.warnings)


def _health_policy(fleet: Fleet) -> HealthPolicy:
    policy = fleet.policies.health
    return HealthPolicy(
        errors_until_suspect=policy.errors,
        stall_s=policy.stall,
        load_stall_s=policy.load_stall,
        probe_interval_s=policy.probe_interval,
        probe_timeout_s=policy.probe_timeout,
    )


async def _tick(agent: Agent) -> None:
    while True:
        await asyncio.sleep(TICK_S)
        agent.tick()


async def _keep_often(keep: Callable[[], bool]) -> None:
    while True:
        await asyncio.sleep(KEEP_INTERVAL_S)
        keep()


async def _open_ports(
    fleet: Fleet, parts: Parts, limiter: Limiter, keep: Callable[[], bool], sockets: Sockets, stack: AsyncExitStack
) -> Guard:
    """Answer HAProxy's agent checks, and operators."""
    checks, (sock,), (admin_sock,) = CheckServer(limiter.answer), sockets.of("check"), sockets.of("admin")
    await checks.listen(sock)
    stack.callback(checks.close)
    started_s, guard = time.monotonic(), Guard(sock, limiter.lines)

    async def told(instance: str) -> bool:
        guard.tell()
        return fleet.policies.limits.follow and await checks.told(instance, TOLD_DEADLINE_S)

    def now() -> dict[str, Any]:
        return status(parts.agent, parts.watch, limiter, started_s, time.monotonic(), parts.warnings())

    admin = Admin(parts.watch, now, keep, told)
    stack.push_async_callback(admin.close)
    await admin.listen(admin_sock)
    return guard


async def serve(fleet: Fleet, state: Path | None = None) -> None:
    """Run the agent until SIGTERM or SIGINT, then drain. Raises Taken when an address cannot be used.

    `state`: where what was learned, and who was drained by hand, is kept across restarts; None: nowhere.
    """
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with unlimited_session() as session, AsyncExitStack() as stack:
        sockets = take_addresses(fleet.listeners)
        stack.callback(sockets.close)
        kept = restore(state) if state else Kept()
        parts = await assemble(fleet, session, kept.learner)
        parts.watch.restore(kept.drained)

        def keep() -> bool:
            return state is not None and save(kept.learner, parts.watch.drained, state)

        limiter = Limiter(fleet, parts.agent, parts.watch)
        guard = await _open_ports(fleet, parts, limiter, keep, sockets, stack)

        def take(line: Line) -> None:
            limiter.ended(line, parts.watch.ended(line))

        (log_sock,) = sockets.of("log")
        ended = HAProxyLog(log_sock, take)
        stack.callback(ended.close)
        ended.start()
        server = Server(parts.agent)
        for sock in sockets.of("spop"):
            await server.listen(sock)
        # What lives until the end is never garbage: keep the collector's pauses short.
        gc.collect()
        gc.freeze()
        log.info("ready", spop=[str(listen) for listen in fleet.listeners.spop], instances=len(fleet.instances))
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(poller.run()) for poller in parts.pollers]
            background = (_tick(parts.agent), limiter.run(), guard.run(), _keep_often(keep))
            tasks += [group.create_task(runs) for runs in background]
            stack.callback(keep)
            await stop.wait()
            log.info("draining", in_flight=parts.board.grants)
            limiter.leave()
            await server.drain(DRAIN_DEADLINE_S)
            for task in tasks:
                task.cancel()
    log.info("stopped")
