"""`pointsman serve`: puts the agent together, runs it until SIGTERM or SIGINT, drains; or hands over to a new one.

Lives here: which command and signal does what, and in which order things start and stop.
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any

import structlog

from spoe_agent.admin.app import Admin
from spoe_agent.admin.reload import Reloader
from spoe_agent.admin.status import status
from spoe_agent.agent.persistently import persistently
from spoe_agent.agent.statefile import Kept, restore
from spoe_agent.assemble import Parts, assemble
from spoe_agent.dashboard.app import Dashboard
from spoe_agent.dashboard.trend import Trend
from spoe_agent.door.app import Door
from spoe_agent.doorway import door
from spoe_agent.fleet import Fleet, FleetError
from spoe_agent.fleet.file import EditedFile
from spoe_agent.haproxy.key_keeper import KeyKeeper
from spoe_agent.haproxy.limiter import Limiter
from spoe_agent.haproxy.map_keeper import MapKeeper
from spoe_agent.haproxy.rendered import is_rendered
from spoe_agent.instances.http import unlimited_session
from spoe_agent.keys.operators import Operators
from spoe_agent.metrics.exposition import Exposition
from spoe_agent.process import systemd
from spoe_agent.process.listening import Sockets, take
from spoe_agent.process.succession import Failed, Predecessor
from spoe_agent.service import Service

log = structlog.get_logger()

COMMAND = (sys.executable, *sys.orig_argv[1:])
"""How this agent was started."""


async def serve(file: EditedFile, state: Path | None = None) -> None:
    """Run the agent until SIGTERM or SIGINT, then drain. SIGHUP reloads the fleet file, SIGUSR2 restarts.

    Raises FleetError when the file cannot be used, Taken when an address cannot.

    `state`: where what the next agent must know is kept across restarts; None: nowhere.
    """
    predecessor = Predecessor.of_this_process()
    try:
        await _serve(file, state, predecessor)
    except (FleetError, OSError) as error:
        if predecessor is not None:
            predecessor.told(str(error))
        raise


async def _serve(file: EditedFile, state: Path | None, predecessor: Predecessor | None) -> None:
    signals = {number: asyncio.Event() for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR2)}
    for number, event in signals.items():
        asyncio.get_running_loop().add_signal_handler(number, event.set)
    content = file.read()
    if content.fleet is None:
        raise FleetError(content.problems)
    fleet = content.fleet
    async with unlimited_session() as session, AsyncExitStack() as stack:
        had = predecessor or take(fleet.listeners)
        kept = restore(state) if state else Kept()
        parts = await assemble(fleet, session, kept.learner)
        service = await _service(parts, kept, had, state)
        opened = door(parts)
        stack.push_async_callback(_shut, opened, service)
        stack.callback(service.close)
        keeper = MapKeeper(lambda: parts.fleet, parts.board)

        async def adopt(fleet: Fleet) -> None:
            await parts.adopt(fleet)
            service.limiter.adopt(fleet)
            service.decisions.adopt(fleet.policies)
            service.traces.adopt(fleet.policies)
            # At once: HAProxy may be reloaded next, and reads it then.
            await keeper.keep()

        reloader = Reloader(file, content, fleet, adopt)
        trend = Trend(parts.agent, service.contact)
        await _open_admin(service, reloader, trend, stack)
        await opened.listen(*service.sockets.of("door"))
        stack.push_async_callback(opened.stop)
        # What lives until the end is never garbage: keep the collector's pauses short.
        gc.collect()
        gc.freeze()
        log.info("ready", spop=[str(listen) for listen in fleet.listeners.spop], instances=len(fleet.instances))
        systemd.notify("READY=1")
        background: dict[str, Callable[[], Awaitable[None]]] = {
            "looking for edits of the fleet file": reloader.run,
            "keeping HAProxy's map of models": keeper.run,
            "keeping the last hour": trend.run,
            "keeping HAProxy's keys": KeyKeeper(lambda: parts.fleet).run,
            "SIGHUP": partial(_reload_on, signals[signal.SIGHUP], reloader),
            "SIGUSR2": partial(_restart_on, signals[signal.SIGUSR2], service),
        }
        stops = [signals[number] for number in (signal.SIGTERM, signal.SIGINT)]
        await _run(service, background, stops)
    log.info("stopped")


async def _run(
    service: Service, background: Mapping[str, Callable[[], Awaitable[None]]], stops: Iterable[asyncio.Event]
) -> None:
    """Run all until one of the events, and drain; or until another process has taken over."""
    async with asyncio.TaskGroup() as group:
        service.run_in(group)
        tasks = [group.create_task(persistently(what, run)) for what, run in background.items()]
        ends = [group.create_task(event.wait()) for event in (*stops, service.succeeded)]
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        if not service.succeeded.is_set():
            systemd.notify("STOPPING=1")
            await service.drain()
        for task in (*tasks, *ends):
            task.cancel()
        await service.stop()


async def _service(parts: Parts, kept: Kept, had: Sockets | Predecessor, state: Path | None) -> Service:
    """Return the service, on this agent's own addresses or with all that its predecessor has."""
    limiter = Limiter(parts.fleet, parts.agent, parts.watch)
    if isinstance(had, Sockets):
        service = Service(parts, limiter, had, state, COMMAND)
        service.take(kept)
        await service.open()
        return service
    # Before nobody answers: to render takes a while.
    keeps = not is_rendered(parts.fleet)
    received = await had.take()
    sockets = take(parts.fleet.listeners, received.listening, received.lock, keeps=keeps)
    service = Service(parts, limiter, sockets, state, COMMAND)
    await service.succeed(received)
    had.done()
    former, in_flight = list(map(str, sockets.former)), parts.board.grants
    log.info("took over", pid=os.getpid(), connections=len(received.connections), in_flight=in_flight, former=former)
    return service


_FORMER = "{} of before the restart is served too, until HAProxy has been told: pointsman apply, then pointsman restart"


async def _open_admin(service: Service, reloader: Reloader, trend: Trend, stack: AsyncExitStack) -> None:
    """Answer operators."""
    parts, started_s = service.parts, time.monotonic()

    def at(now_s: float, most_held: int | None = None) -> dict[str, Any]:
        former = [_FORMER.format(place) for place in service.sockets.former]
        pending = reloader.seen.warnings() if reloader.seen else []
        warnings = [*parts.warnings(), *former, *service.decisions.warnings(), *service.traces.warnings(), *pending]
        return status(parts, service.limiter, service.contact, started_s, now_s, warnings, most_held)

    async def now() -> dict[str, Any]:
        pending = await reloader.pending()
        return {**at(time.monotonic()), "fleet": pending.status()}

    def names() -> tuple[str, ...]:
        return parts.fleet.listeners.admin.host, *parts.fleet.policies.allowed_hosts

    by_hand = reloader, service.hand_over, parts.bring_back
    metrics = Exposition(parts, service.limiter, service.contact, mistakes=reloader.mistakes)
    dashboard = Dashboard(parts.agent, at, trend).application()
    entry = names, dashboard, Operators(lambda: parts.fleet)
    admin = Admin(parts.agent, parts.watch, now, service.keep, service.told, *by_hand, metrics, *entry)
    stack.push_async_callback(admin.close)
    (sock,) = service.sockets.of("admin")
    await admin.listen(sock)


async def _shut(opened: Door, service: Service) -> None:
    """Let the changes end that this agent makes, when another has its place: pulls take long."""
    await opened.close(waits=service.succeeded.is_set())


async def _reload_on(asked: asyncio.Event, reloader: Reloader) -> None:
    while True:
        await asked.wait()
        asked.clear()
        systemd.notify("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")
        try:
            await reloader.reload()
        finally:
            systemd.notify("READY=1")


async def _restart_on(asked: asyncio.Event, service: Service) -> None:
    while True:
        await asked.wait()
        asked.clear()
        try:
            await service.hand_over()
        except Failed as error:
            log.error("restart failed", why=str(error))
