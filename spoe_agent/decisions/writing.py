"""Has the agent's rows written, beside everything else: in batches, in a thread, and never so that serving waits.

A disk that is full, or a folder that cannot be written, is said once; the rows of that time are lost, and counted.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import structlog
from pydantic_core import to_json

from spoe_agent.agent.agent import Agent
from spoe_agent.decisions.file import append, put_aside
from spoe_agent.decisions.known import known
from spoe_agent.fleet import Policies

log = structlog.get_logger()

INTERVAL_S = 1.0
"""Between two batches."""

KNOWN_S = 600.0
"""So often what the agent knows is written down too; and at the beginning of each file, and at the end."""

AFRESH_S = 60.0
"""Until the first request of a file, what is known is looked at so often: it is to be of before that request."""

LEAVE_S = 0.3
"""So long the last batch may take: meanwhile HAProxy's questions wait for the next agent."""


class DecisionLog:
    """Of one agent; `run` must be running. `wall`, `clock`: seconds since 1970, and the agent's."""

    def __init__(
        self,
        agent: Agent,
        policies: Policies,
        wall: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._agent = agent
        self._rows = agent.record.rows
        self._wall, self._clock = wall, clock
        self._at_work = threading.Lock()
        self._is_new = True
        """What is known is to be written next."""
        self._known = b""
        """It, until it is written."""
        self._known_at_s = 0.0
        self._trouble = ""
        self.adopt(policies)

    def adopt(self, policies: Policies) -> None:
        """Write as another fleet file says, from the next batch on; and say in the agent's own log what that says."""
        self._policy, self._is_new = policies.decision_log, True
        self._rows.is_wanted, self._rows.log_caller = self._policy.file is not None, policies.log_caller
        self._agent.record.is_said = policies.log_decisions
        self._follow_clocks()

    def _follow_clocks(self) -> None:
        """The wall's may be set at any time."""
        self._rows.wall_offset_s = self._wall() - self._clock()

    def warnings(self) -> list[str]:
        """Return what people should know: that nothing can be written, and why."""
        return [self._trouble] if self._trouble else []

    async def run(self) -> None:
        """Write each second what there is, until cancelled."""
        while True:
            await self.write()
            await asyncio.sleep(INTERVAL_S)

    async def write(self) -> None:
        """Write what there is."""
        self._follow_clocks()
        rows = self._rows.take()
        if self._policy.file is None:
            return
        if rows:
            self._see_what_is_known(KNOWN_S)
            await self._give(rows, Path(self._policy.file))
        elif self._is_new or self._known:
            self._see_what_is_known(AFRESH_S)

    async def _give(self, rows: list[bytes], path: Path) -> None:
        loop = asyncio.get_running_loop()
        done = loop.create_future()
        # A thread of its own, and a daemon: one that hangs in the disk is not waited for when the process ends.
        arguments = (loop, done, path, rows)
        threading.Thread(target=self._work, args=arguments, name="decisions", daemon=True).start()
        # Whoever is cancelled meanwhile has taken these rows already: they are written all the same.
        await done

    def _see_what_is_known(self, every_s: float) -> None:
        now_s = self._clock()
        if self._is_new or now_s - self._known_at_s >= every_s:
            self._is_new, self._known_at_s = False, now_s
            self._known = to_json({"known": known(self._agent, self._wall())}) + b"\n"

    def _work(self, loop: asyncio.AbstractEventLoop, done: asyncio.Future[None], path: Path, rows: list[bytes]) -> None:
        try:
            with self._at_work:
                self._write(path, rows)
        finally:
            # The loop may be closed by now: nobody waits any more.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(_settle, done)

    def _write(self, path: Path, rows: list[bytes]) -> None:
        first = self._known
        try:
            size = append(path, first + b"".join(rows))
        except OSError as error:
            self._rows.lost += len(rows)
            self._say(f"{path}: {error.strerror or error}: decisions are not written down")
            return
        self._rows.written += len(rows)
        if self._known is first:
            self._known = b""
        try:
            if size >= self._policy.max_size:
                put_aside(path, self._policy.keep)
                self._is_new = True
        except OSError as error:
            self._say(f"{path}: {error.strerror or error}: it cannot be renamed, and grows beyond its max_size")
        else:
            self._say("")

    def _say(self, trouble: str) -> None:
        if trouble and trouble != self._trouble:
            log.error("the decision log is in trouble; requests are served on", why=trouble)
        elif self._trouble and not trouble:
            log.info("the decision log is written again", lost=self._rows.lost)
        self._trouble = trouble

    async def leave(self) -> None:
        """Write the last batch, with what is under way (another agent, or none, hears how that ends) and what is known
        by now: a log of some minutes has had no other than that of before its first request.
        """
        self._agent.record.leave()
        rows = self._rows.take()
        if self._policy.file is None or not (rows or self._rows.written):
            return
        self._see_what_is_known(INTERVAL_S)
        try:
            async with asyncio.timeout(LEAVE_S):
                await self._give(rows, Path(self._policy.file))
        except TimeoutError:
            log.error("the decision log's last rows are late: its disk hangs")


def _settle(done: asyncio.Future[None]) -> None:
    if not done.done():  # whoever waited was cancelled
        done.set_result(None)
