"""What HAProxy has of a running agent: answers, checks, its log; opened, closed, and handed to another process.

Lives here: in which order.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import structlog

from spoe_agent.agent.ending import Line
from spoe_agent.agent.persistently import persistently
from spoe_agent.agent.statefile import Kept, dump, parse, save
from spoe_agent.assemble import Parts
from spoe_agent.decisions.writing import DecisionLog
from spoe_agent.faults import kind
from spoe_agent.haproxy.check import CheckServer, Guard
from spoe_agent.haproxy.contact import Contact
from spoe_agent.haproxy.contract import TOLD_S
from spoe_agent.haproxy.limiter import Limiter
from spoe_agent.haproxy.log import HAProxyLog
from spoe_agent.haproxy.passing import Passed, abandon, freeze, hand, thaw
from spoe_agent.haproxy.server import Server
from spoe_agent.process import systemd
from spoe_agent.process.listening import Sockets
from spoe_agent.process.succession import FORMAT, Estate, Failed, Received, Successor
from spoe_agent.traces.export import Exporter

log = structlog.get_logger()

DRAIN_DEADLINE_S = 5.0

KEEP_INTERVAL_S = 60.0

RETRY_S = 1.0

REVIEW_S = 1.0
"""How often HAProxy's processes are looked after."""

FREEZE_DEADLINE_S = 0.5
"""Answers that are under way take no longer (unloading.DEADLINE_S, second_look.DEADLINE_S)."""


class Service:
    """An agent at its addresses. `run_in` a task group keeps it informed."""

    def __init__(
        self, parts: Parts, limiter: Limiter, sockets: Sockets, state: Path | None, command: Sequence[str] = ()
    ) -> None:
        """`command`: how a new agent is started that is to take this one's place."""
        self.parts = parts
        self.limiter = limiter
        self.sockets = sockets
        self.succeeded = asyncio.Event()
        """Set when another process has taken over."""
        self._state = state
        self._command = command
        self.contact = Contact(wants_keys=lambda: parts.fleet.keys is not None)
        self.decisions = DecisionLog(parts.agent, parts.fleet.policies)
        self.traces = Exporter(parts.agent.record.spans, parts.fleet.policies)
        self._server = Server(parts.agent, contact=self.contact, news=self._read_logs)
        self._group: asyncio.TaskGroup | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._handing = asyncio.Lock()
        self._logs: list[HAProxyLog] = []
        self._handed: asyncio.Task[int] | None = None
        self._is_ending = False
        self._opened = ExitStack()
        """Closes what takes checks, lines and connections."""

    async def open(self, connections: Iterable[tuple[socket.socket, Passed]] = ()) -> None:
        """Answer from now on, also on connections that another process has had. Raises OSError, with nothing open."""
        with ExitStack() as stack:
            stack.callback(self._server.close_listeners)
            (check,) = self.sockets.of("check")
            stack.callback(check.close)
            guard = Guard(check.dup(), self.limiter.lines)
            stack.callback(guard.close)
            checks = CheckServer(self.limiter.answer)
            await checks.listen(check)
            stack.callback(checks.close)
            logs = [HAProxyLog(sock, self._ended) for sock in self.sockets.of("log")]
            for log_of_haproxy in logs:
                log_of_haproxy.start()
                stack.callback(log_of_haproxy.close)
            for sock, passed in connections:
                await self._server.adopt(sock, passed)
            for sock in self.sockets.of("spop"):
                self._server.listen(sock)
            self._checks, self._guard, self._logs, self._opened = checks, guard, logs, stack.pop_all()

    def take(self, kept: Kept) -> None:
        """Go on where an agent before this one was."""
        self.parts.take(kept)
        for process in {grant.process for ledger in kept.ledgers.values() for grant in ledger.grants}:
            if process:
                self.contact.processes.expected(process)

    def _read_logs(self) -> None:
        for log_of_haproxy in self._logs:
            log_of_haproxy.read()

    def _ended(self, line: Line) -> None:
        self.contact.ended(line)
        self.limiter.ended(line, self.parts.watch.ended(line))
        self.parts.agent.record.ended(line)

    def run_in(self, group: asyncio.TaskGroup) -> None:
        """Keep it informed in this group, until it is stopped."""
        self._group = group
        runs: dict[str, Callable[[], Awaitable[None]]] = {
            "watching over HAProxy's checks": self._guard.run,
            "keeping the agent informed": self.parts.run,
            "limiting connections": self.limiter.run,
            "writing down what is known": self._keep_often,
            "looking after HAProxy's processes": self._review,
            "writing down decisions": self.decisions.run,
            "sending traces": self.traces.run,
            "telling systemd": systemd.pet_watchdog,
        }
        self._tasks = [group.create_task(persistently(what, run)) for what, run in runs.items()]
        self._guarding = self._tasks[0]

    async def stop(self) -> None:
        """End what runs, for good."""
        self._group = None
        await self._cease()
        await self.decisions.leave()
        await self.traces.leave()

    async def _cease(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []

    def keep(self) -> bool:
        """Write down what the next agent must know; tell whether that was possible."""
        return self._state is not None and save(self.parts.kept(), self._state)

    async def _review(self) -> None:
        while True:
            await asyncio.sleep(REVIEW_S)
            self.parts.agent.forget(self.contact.review())

    async def _keep_often(self) -> None:
        while True:
            await asyncio.sleep(KEEP_INTERVAL_S)
            self.keep()

    async def told(self, instance: str) -> bool:
        """Wait, not for long, until HAProxy knows what was done to an instance; tell whether it does."""
        self._guard.tell()
        return self.parts.fleet.policies.limits.follow and await self._checks.told(instance, TOLD_S)

    async def drain(self) -> None:
        """Stop answering, without losing an answer. A hand-over that is under way is given up, unless it succeeds."""
        self._is_ending = True
        if self._handed is not None:
            self._handed.cancel()
            await asyncio.wait([self._handed])
        if self.succeeded.is_set():
            return
        log.info("draining", in_flight=self.parts.board.grants)
        self.limiter.leave()
        await self._server.drain(DRAIN_DEADLINE_S)

    def close(self) -> None:
        """Give all addresses back, unless another process has them."""
        if self.succeeded.is_set():
            abandon(self._server)
            self.sockets.leave()
            return
        self.keep()
        self._opened.close()
        self.sockets.close()

    async def hand_over(self) -> int:
        """Put a new agent in this one's place; return its process id. Raises Failed, and then this one goes on, unless
        it is to end.
        """
        async with self._handing:
            if not self._is_ending:
                self._handed = asyncio.get_running_loop().create_task(self._hand_over())
                try:
                    return await self._handed
                except Failed as error:
                    raise Failed(f"{error}; this agent goes on") from error
                except asyncio.CancelledError:
                    if not self._is_ending:
                        raise
            raise Failed("this agent is to end")

    async def _hand_over(self) -> int:
        log.info("restarting")
        successor = await Successor.start(self._command)
        try:
            await self._rest()
            begun_s = time.monotonic()
            if not await freeze(self._server, FREEZE_DEADLINE_S):
                raise Failed("answers under way were not written in time")
            # Not before: what is decided until here is this agent's to write down.
            await self.decisions.leave()
            await self._send(successor)
        except BaseException as error:
            await successor.give_up()
            await self._go_on()
            if isinstance(error, Failed) or not isinstance(error, Exception):
                raise
            log.exception("restart failed")
            raise Failed(kind(error)) from error
        frozen_ms = round(1000 * (time.monotonic() - begun_s))
        log.info("a new agent has taken over", pid=successor.pid, frozen_ms=frozen_ms)
        # The new one's own sign of life may have come when nobody believed it yet.
        systemd.notify(f"MAINPID={successor.pid}", "WATCHDOG=1")
        self.succeeded.set()
        return successor.pid

    async def _rest(self) -> None:
        """Do nothing by itself any more, and read no lines: they wait for whoever is next."""
        self._guard.end()
        await asyncio.wait([self._guarding])
        await self._cease()
        self._opened.close()

    async def _go_on(self) -> None:
        """Go on as before, however far the hand-over came."""
        await self._cease()
        self._opened.close()
        thaw(self._server)
        while not await self._opens():
            await asyncio.sleep(RETRY_S)
        if self._group is not None:
            self.run_in(self._group)

    async def _opens(self) -> bool:
        try:
            await self.open()
        except OSError as error:
            log.error("this agent cannot go on yet: it is deaf to new connections, and tries again", why=str(error))
            return False
        return True

    async def _send(self, successor: Successor) -> None:
        by_address, connections = self.sockets.by_address(), hand(self._server)
        estate = Estate(
            format=FORMAT,
            kept=dump(self.parts.kept()),
            tickets=list(self.parts.agent.hold),
            early=[(replace(choice, candidates=()), facts) for choice, facts in self.parts.agent.answers.early()],
            writings=dict(self.parts.agent.writings),
            changes=self.parts.agent.second_look.changes,
            homes=self.parts.agent.homes,
            places=list(by_address),
            connections=[passed for _, passed in connections],
        )
        copies = [sock for sock, _ in connections]
        try:
            await successor.send(estate, [*by_address.values(), self.sockets.lock, *copies])
        finally:
            for sock in copies:
                sock.close()

    async def succeed(self, received: Received) -> None:
        """Go on in another process's place. Lines and questions that waited in the kernel are about what is known."""
        estate = received.estate
        self.take(parse(estate.kept.encode()))
        self.parts.agent.take(estate.tickets, estate.homes)
        self.parts.agent.answers.take(estate.early)
        self.parts.agent.writings.update(estate.writings)
        self.parts.agent.second_look.go_on(estate.changes)
        await self.open(received.connections)
        self.parts.agent.release()
