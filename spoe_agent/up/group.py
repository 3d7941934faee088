"""A child with all that it starts: one process group of its own. Ctrl-C in the terminal does not reach it.

`up` ends it, or the reaper does.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import psutil

from spoe_agent.up import reaper
from spoe_agent.up.output import LINE_BYTES, Output

KILLED_S = 5.0
"""After SIGKILL: what is not gone then waits for the kernel."""

HURRIED_S = 0.5
"""Grace when it is hurried."""

LOOK_S = 0.05
LOOK_RARELY_S = 0.5


class Reaper:
    """Looks after groups for the case that this process cannot."""

    def __init__(self, process: asyncio.subprocess.Process, folder: Path | None) -> None:
        self._process = process
        self._folder = folder
        self._groups: set[int] = set()

    @classmethod
    async def start(cls, folder: Path | None = None) -> Reaper:
        """Start it. `folder`: removed at the end."""
        return cls(await _reaper(folder), folder)

    async def ended(self) -> None:
        """Wait for its end, which is nobody's wish before `close`."""
        await self._process.wait()

    async def start_again(self) -> None:
        """Start another in its place, which looks after the same groups. Raises OSError."""
        self._process = await _reaper(self._folder)
        for group in self._groups:
            self._tell(f"+{group}\n")

    def add(self, group: int) -> None:
        """Look after a group."""
        self._groups.add(group)
        self._tell(f"+{group}\n")

    def remove(self, group: int) -> None:
        """Do so no more: it is gone, and its number may be another's."""
        self._groups.discard(group)
        self._tell(f"-{group}\n")

    async def close(self) -> None:
        """End it, and what it still looks after."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._process.wait()

    def _tell(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line.encode())


async def _reaper(folder: Path | None) -> asyncio.subprocess.Process:
    """Not in this process's group: whoever kills that is whom it is for."""
    command = (sys.executable, "-I", "-S", str(Path(reaper.__file__)), *([str(folder)] if folder else []))
    return await asyncio.create_subprocess_exec(*command, stdin=asyncio.subprocess.PIPE, start_new_session=True)


class ProcessGroup:
    """One process and those that it started."""

    def __init__(self, name: str, child: asyncio.subprocess.Process, reaped_by: Reaper) -> None:
        self.name = name
        self._child = child
        self._reaper = reaped_by
        self._follows: int | None = None

    @classmethod
    async def start(
        cls,
        name: str,
        command: Sequence[str],
        environment: Mapping[str, str],
        output: Output,
        reaped_by: Reaper,
        tasks: asyncio.TaskGroup,
    ) -> ProcessGroup:
        """Start it; its lines are printed by one of the tasks. Raises OSError."""
        child = await asyncio.create_subprocess_exec(
            *command,
            env=environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
            limit=LINE_BYTES,
        )
        reaped_by.add(child.pid)
        assert child.stdout is not None
        tasks.create_task(output.follow(name, child.stdout))
        return cls(name, child, reaped_by)

    @property
    def pid(self) -> int:
        """The number of the process, or of the one that has taken its place."""
        return self._follows or self._child.pid

    @property
    def has_ended(self) -> bool:
        """Whether the process that was started has."""
        return self._child.returncode is not None

    def followed_by(self, pid: int) -> None:
        """Another process of this group takes the first one's place; others' numbers are not believed."""
        with suppress(ProcessLookupError):
            if os.getpgid(pid) == self._child.pid:
                self._follows = pid

    async def ended(self) -> str:
        """Wait for the end of the process, and of whoever has taken its place; return how it ended."""
        status = await self._exited()
        while self._follows is not None:
            pid, self._follows = self._follows, None
            await gone(pid)
        return f"was killed by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the process alone."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)

    async def end(self, grace_s: float, hurry: asyncio.Event) -> None:
        """End all of the group: politely, then not. There is little grace left from when it is to hurry."""
        self.signal(signal.SIGTERM)
        if not await self._emptied(grace_s, hurry):
            with suppress(ProcessLookupError):
                os.killpg(self._child.pid, signal.SIGKILL)
            await self._emptied(KILLED_S, asyncio.Event())
        await self._exited()
        self._reaper.remove(self._child.pid)

    async def _exited(self) -> int:
        """Return the status of the process. From Python 3.11.5 on, `wait` waits for whoever else has its output, too:
        runners that an Ollama has left behind.
        """
        if self._child.returncode is None:
            await gone(self._child.pid)
        while self._child.returncode is None:
            await asyncio.sleep(LOOK_S)
        return self._child.returncode

    async def left(self) -> None:
        """Wait until what the process has left behind ends by itself: then its number may be another group's."""
        while any(self._members()):
            await asyncio.sleep(LOOK_RARELY_S)
        self._reaper.remove(self._child.pid)

    async def _emptied(self, within_s: float, hurry: asyncio.Event) -> bool:
        until_s = time.monotonic() + within_s
        while any(self._members()):
            if hurry.is_set():
                until_s = min(until_s, time.monotonic() + HURRIED_S)
            if time.monotonic() > until_s:
                return False
            await asyncio.sleep(LOOK_S)
        return True

    def _members(self) -> Iterator[int]:
        """Yield the processes that are not dead yet. Looked for only while the kernel knows of any."""
        try:
            os.killpg(self._child.pid, 0)
        except ProcessLookupError:
            return
        for process in psutil.process_iter():
            with suppress(ProcessLookupError, psutil.Error):
                if os.getpgid(process.pid) == self._child.pid and process.status() != psutil.STATUS_ZOMBIE:
                    yield process.pid


async def gone(pid: int) -> None:
    """Wait for the end of a process, whoever its parent is."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(handle, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(handle)
        os.close(handle)
