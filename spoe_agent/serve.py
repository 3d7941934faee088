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
from pathlib import Path
from typing import Any

import structlog

from spoe_agent import systemd
from spoe_agent.admin.app import Admin
from spoe_agent.admin.reload import Reloader
from spoe_agent.admin.status import status
from spoe_agent.agent import Agent
from spoe_agent.agent_check import CheckServer, Guard
from spoe_agent.assemble import Parts, assemble
from spoe_agent.fleet import Fleet, FleetError
from spoe_agent.fleet.file import FleetFile
from spoe_agent.haproxy.contact import Contact
from spoe_agent.listening import Sockets
from spoe_agent.listening import take as take_addresses
from spoe_agent.server import Server
from spoe_agent.telemetry.haproxy_log import HAProxyLog, Line
from spoe_agent.telemetry.http import unlimited_session
from spoe_agent.telemetry.statefile import Kept, restore, save
from spoe_agent.watch.limiter import Limiter

log = structlog.get_logger()

DRAIN_DEADLINE_S = 5.0

KEEP_INTERVAL_S = 60.0

REVIEW_S = 1.0
"""How often HAProxy's processes are looked after."""

TOLD_DEADLINE_S = 2.0
"""Whoever drains an instance waits so long until HAProxy knows; its `agent-inter` is 500 ms."""


async def _review(contact: Contact, agent: Agent) -> None:
    while True:
        await asyncio.sleep(REVIEW_S)
        agent.forget(contact.review())


async def _keep_often(keep: Callable[[], bool]) -> None:
    while True:
        await asyncio.sleep(KEEP_INTERVAL_S)
        keep()


async def _reload_on(asked: asyncio.Event, reloader: Reloader) -> None:
    while True:
        await asked.wait()
        asked.clear()
        systemd.notify("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")
        await reloader.reload()
        systemd.notify("READY=1")


async def _open_ports(
    parts: Parts,
    limiter: Limiter,
    contact: Contact,
    reloader: Reloader,
    keep: Callable[[], bool],
    sockets: Sockets,
    stack: AsyncExitStack,
) -> Guard:
    """Answer HAProxy's agent checks, and operators."""
    checks, (sock,), (admin_sock,) = CheckServer(limiter.answer), sockets.of("check"), sockets.of("admin")
    await checks.listen(sock)
    stack.callback(checks.close)
    started_s, guard = time.monotonic(), Guard(sock, limiter.lines)

    async def told(instance: str) -> bool:
        guard.tell()
        return parts.fleet.policies.limits.follow and await checks.told(instance, TOLD_DEADLINE_S)

    async def now() -> dict[str, Any]:
        pending = await reloader.pending()
        warnings = [*parts.warnings(), *pending.warnings()]
        found = status(parts.agent, parts.watch, limiter, contact, started_s, time.monotonic(), warnings)
        return {**found, "fleet": pending.status()}

    admin = Admin(parts.watch, now, keep, told, reloader)
    stack.push_async_callback(admin.close)
    await admin.listen(admin_sock)
    return guard


async def serve(file: FleetFile, state: Path | None = None) -> None:
    """Run the agent until SIGTERM or SIGINT, then drain; SIGHUP reloads the fleet file.

    Raises FleetError when the file cannot be used, Taken when an address cannot.

    `state`: where what was learned, and who was drained by hand, is kept across restarts; None: nowhere.
    """
    stop, reload = asyncio.Event(), asyncio.Event()
    for number, event in ((signal.SIGTERM, stop), (signal.SIGINT, stop), (signal.SIGHUP, reload)):
        asyncio.get_running_loop().add_signal_handler(number, event.set)
    content = file.read()
    if content.fleet is None:
        raise FleetError(content.problems)
    fleet = content.fleet
    async with unlimited_session() as session, AsyncExitStack() as stack:
        sockets = take_addresses(fleet.listeners)
        stack.callback(sockets.close)
        kept = restore(state) if state else Kept()
        parts = await assemble(fleet, session, kept.learner)
        parts.watch.restore(kept.drained)

        def keep() -> bool:
            return state is not None and save(kept.learner, parts.watch.drained, state)

        limiter, contact = Limiter(fleet, parts.agent, parts.watch), Contact()

        async def adopt(fleet: Fleet) -> None:
            await parts.adopt(fleet)
            limiter.adopt(fleet)

        reloader = Reloader(file, content, fleet, adopt)
        guard = await _open_ports(parts, limiter, contact, reloader, keep, sockets, stack)

        def take(line: Line) -> None:
            contact.ended(line)
            limiter.ended(line, parts.watch.ended(line))

        (log_sock,) = sockets.of("log")
        ended = HAProxyLog(log_sock, take)
        stack.callback(ended.close)
        ended.start()
        server = Server(parts.agent, contact=contact, news=ended.read)
        for sock in sockets.of("spop"):
            await server.listen(sock)
        # What lives until the end is never garbage: keep the collector's pauses short.
        gc.collect()
        gc.freeze()
        log.info("ready", spop=[str(listen) for listen in fleet.listeners.spop], instances=len(fleet.instances))
        async with asyncio.TaskGroup() as group:
            background = (
                parts.run(),
                limiter.run(),
                guard.run(),
                _review(contact, parts.agent),
                reloader.run(),
                _reload_on(reload, reloader),
                _keep_often(keep),
                systemd.pet_watchdog(),
            )
            tasks = [group.create_task(runs) for runs in background]
            stack.callback(keep)
            systemd.notify("READY=1")
            await stop.wait()
            systemd.notify("STOPPING=1")
            log.info("draining", in_flight=parts.board.grants)
            limiter.leave()
            await server.drain(DRAIN_DEADLINE_S)
            for task in tasks:
                task.cancel()
    log.info("stopped")
