"""Runs a fleet: starts its programs in order, starts again what ends, says how they are, stops all.

start: instances, and when they accept connections the agent, and when that is ready the front.
stop: the front first, which lets what runs there end; then the agent; the instances last.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time
from collections.abc import Sequence

from spoe_agent.fleet import Listen
from spoe_agent.fleet.hosts import canonical_host
from spoe_agent.fleet.urls import is_name
from spoe_agent.process.owners import owner
from spoe_agent.up.group import ProcessGroup, Reaper
from spoe_agent.up.members import AGENT, Member
from spoe_agent.up.notified import Notified
from spoe_agent.up.output import Output

UP = "up"
"""Our own lines."""

READY_DEADLINE_S = 60.0
"""Ollama looks for GPUs for 30 s at most before it listens."""

DRAIN_DEADLINE_S = 30.0
END_DEADLINE_S = 10.0

DELAYS_S = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
"""Before a program that has ended is started again; the last one from then on."""

STEADY_S = 60.0
"""A program that has run for so long begins anew with the first delay."""


class ProgramNotStarted(Exception):
    """A program ended, or did not become ready, when the fleet was started; the text says which."""


class Running:
    """The programs of a fleet, each with who runs it now."""

    def __init__(
        self, output: Output, reaped_by: Reaper, notified: Notified, tasks: asyncio.TaskGroup, hurry: asyncio.Event
    ) -> None:
        """`hurry`: set when what is being stopped is to stop at once."""
        self._hurry = hurry
        self._output = output
        self._reaper = reaped_by
        self._notified = notified
        self._tasks = tasks
        self._groups: dict[str, ProcessGroup] = {}
        self._watching: list[asyncio.Task[None]] = []

    async def start(self, members: Sequence[Member]) -> None:
        """Start programs that belong together, and watch them once all are ready. Raises ProgramNotStarted, OSError."""
        for member in members:
            await self._start(member)
        for member in members:
            await self._ready(member)
        self._watching += [self._tasks.create_task(self._watch(member)) for member in members]

    async def stop(self, members: Sequence[Member]) -> None:
        """Stop programs that belong together. They are not started again."""
        for watching in self._watching:
            watching.cancel()
        there = [(member, self._groups.pop(member.name)) for member in members if member.name in self._groups]
        await asyncio.gather(*(self._drain(group) for member, group in there if member.drains))
        await asyncio.gather(*(group.end(END_DEADLINE_S, self._hurry) for _, group in there))

    async def _start(self, member: Member) -> None:
        if member.name == AGENT:
            self._notified.is_ready = False
        environment = member.whole_environment(os.environ)
        try:
            self._groups[member.name] = await ProcessGroup.start(
                member.name, member.command, environment, self._output, self._reaper, self._tasks
            )
        except OSError as error:
            raise ProgramNotStarted(
                f"{member.name}: {member.command[0]} cannot be started: {error.strerror}"
            ) from error

    async def _ready(self, member: Member) -> None:
        """Wait until it accepts connections, or says that it is ready; say so. Raises ProgramNotStarted."""
        ended = self._tasks.create_task(self._groups[member.name].ended())
        until_s = time.monotonic() + READY_DEADLINE_S
        try:
            while not (self._notified.is_ready if member.name == AGENT else await listens(member.listens)):
                if ended.done():
                    raise ProgramNotStarted(f"{member.name} {ended.result()} before it was ready; it says why above")
                if time.monotonic() > until_s:
                    raise ProgramNotStarted(f"{member.name} was not ready after {READY_DEADLINE_S:.0f} s")
                await asyncio.sleep(0.05)
        finally:
            ended.cancel()
        self._say(f"{member.name} is ready at {member.listens}")

    async def _watch(self, member: Member) -> None:
        """Start it again whenever it ends."""
        failures = 0
        while True:
            group, begun_s = self._groups[member.name], time.monotonic()
            how = await self._ended(member, group)
            failures = 0 if time.monotonic() - begun_s > STEADY_S else failures
            delay_s = DELAYS_S[min(failures, len(DELAYS_S) - 1)]
            failures += 1
            self._say(f"{member.name} {how}; it is started again in {delay_s:g} s")
            if member.sweeps:
                await group.end(0.0, self._hurry)
            else:
                self._watching.append(self._tasks.create_task(group.left()))
            await asyncio.sleep(delay_s)
            await self._start_again(member)

    async def _start_again(self, member: Member) -> None:
        """Start it; when it ends before it is ready, its watcher says so."""
        try:
            await self._start(member)
        except ProgramNotStarted as error:
            self._say(str(error))
            return
        try:
            await self._ready(member)
        except ProgramNotStarted as error:
            if not self._groups[member.name].has_ended:
                self._say(str(error))

    async def _ended(self, member: Member, group: ProcessGroup) -> str:
        """Wait for a program's end. An agent may put another in its place before (`pointsman restart`)."""
        while True:
            how = await group.ended()
            self._notified.read()
            follower, self._notified.main_pid = self._notified.main_pid, None
            if member.name != AGENT or follower is None:
                return how
            group.followed_by(follower)

    async def _drain(self, group: ProcessGroup) -> None:
        """Let a program end by itself, not for ever."""
        group.signal(signal.SIGUSR1)
        waits = [self._tasks.create_task(group.ended()), self._tasks.create_task(self._hurry.wait())]
        done, _ = await asyncio.wait(waits, timeout=1.0, return_when=asyncio.FIRST_COMPLETED)
        if not done:
            self._say(f"{group.name} lets requests end, {DRAIN_DEADLINE_S:.0f} s at most; Ctrl-C again stops them")
            await asyncio.wait(waits, timeout=DRAIN_DEADLINE_S, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()

    def _say(self, line: str) -> None:
        self._output.say(UP, line)


async def listens(listen: Listen) -> bool:
    """Tell whether somebody listens there. An address is not connected to: HAProxy would log a bad request."""
    where = Listen(canonical_host(listen.host), listen.port)
    if is_name(where.host):
        return await accepts(listen)
    return bool(owner(where, socket.SOCK_STREAM))


async def accepts(listen: Listen) -> bool:
    """Tell whether somebody accepts connections there."""
    try:
        _, writer = await asyncio.open_connection(listen.host, listen.port)
    except OSError:
        return False
    writer.close()
    return True
