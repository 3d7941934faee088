"""The fleet file's changes while the agent runs: taken up on demand, refused when they cannot be, undone.

Lives here: what is in force, and what the file says beside that.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import structlog

from spoe_agent.fleet import Fleet, FleetError, Problem
from spoe_agent.fleet.differences import differences, needing_restart, with_listeners_of
from spoe_agent.fleet.file import Content, EditedFile
from spoe_agent.haproxy.rendered import Rendered

log = structlog.get_logger()

LOOK_INTERVAL_S = 2.0


@dataclass(frozen=True, slots=True)
class ReloadResult:
    """What a reload came to."""

    digest: str
    """Of the file that was read."""
    problems: tuple[str, ...] = ()
    """Why it was refused, as `pointsman check` says it: file, line, key."""
    changed: tuple[str, ...] = ()
    needs_restart: tuple[str, ...] = ()
    """Keys that stay as they were until the agent is restarted."""


@dataclass(frozen=True, slots=True)
class Pending:
    """What the file says and is not in force."""

    file: str
    digest: str
    problems: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    needs_restart: tuple[str, ...] = ()
    folder: str | None = None
    """Where HAProxy's files are; None: the fleet file does not say."""
    holds: bool = False
    """Whether requests are held, as it is in force."""
    reload_haproxy: str = ""
    """The command for that, as it is in force."""
    rendered: tuple[str, ...] = ()
    """HAProxy's files that are not what the fleet file gives."""
    is_of_up: bool = False
    """Whether `pointsman up` has started all, and nothing is applied."""

    def status(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {
            "file": self.file,
            "digest": self.digest,
            "problems": list(self.problems),
            "changed": list(self.changed),
            "needs_restart": list(self.needs_restart),
            "rendered": list(self.rendered),
            "holds": self.holds,
            "reload_haproxy": self.reload_haproxy,
        }

    def warnings(self) -> list[str]:
        """Return a line for each thing that people should do."""
        found = []
        if self.problems:
            found.append(f"the fleet file was edited and cannot be used: {'; '.join(self.problems)}")
        if self.changed:
            then = "start `pointsman up` anew" if self.is_of_up else "pointsman apply"
            found.append(f"the fleet file was edited, which is not in force: {_listed(self.changed)}: {then}")
        if self.needs_restart:
            then = "a new start of `pointsman up`" if self.is_of_up else "a restart of the agent, then pointsman apply"
            found.append(f"{_listed(self.needs_restart)} of the fleet file: in force after {then}")
        if self.rendered:
            names = _listed(self.rendered)
            found.append(f"in {self.folder}, {names} is not what the fleet file gives: pointsman apply")
        return found


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")


def _refused(digest: str, found: Iterable[Problem]) -> ReloadResult:
    problems = tuple(map(str, found))
    log.error("fleet file refused, the fleet before it stays in force", why="\n".join(problems))
    return ReloadResult(digest, problems)


class Reloader:
    """Keeps the fleet in force. `adopt` puts another in force; one is adopted at a time."""

    def __init__(
        self,
        file: EditedFile,
        content: Content,
        fleet: Fleet,
        adopt: Callable[[Fleet], Awaitable[None]],
        interval_s: float = LOOK_INTERVAL_S,
    ) -> None:
        self.fleet = fleet
        self._file = file
        self._before: tuple[str, Fleet] | None = None
        self._adopt = adopt
        self._rendered = Rendered()
        self._lock = asyncio.Lock()
        self._interval_s = interval_s
        self._said = content.digest
        """The edit that was taken up, refused or warned of last."""
        self.seen: Pending | None = None
        """What was pending when the file was looked at last; None: it was not yet."""

    async def reload(self, name: str = "") -> ReloadResult:
        """Read the file, and put it in force if it can be. `name`: what `undo` calls this."""
        async with self._lock:
            found = await asyncio.to_thread(self._file.read)
            self._said = found.digest
            if found.fleet is None:
                return _refused(found.digest, found.problems)
            wanted, restart = with_listeners_of(self.fleet, found.fleet), needing_restart(self.fleet, found.fleet)
            changed = differences(self.fleet, wanted)
            before = self.fleet
            try:
                await self._put_in_force(wanted)
            except FleetError as refused:  # a file that it names is of no use
                return _refused(found.digest, refused.problems)
            self._before = name, before
        log.info("fleet file reloaded", changed=changed, needs_restart=restart)
        return ReloadResult(found.digest, (), changed, restart)

    async def undo(self, name: str = "") -> bool:
        """Put the fleet before the last reload in force again; False: there is none, or it was another one."""
        async with self._lock:
            if self._before is None or self._before[0] != name:
                return False
            await self._put_in_force(self._before[1])
            self._before = None
        log.warning("the last reload of the fleet file was undone")
        return True

    async def _put_in_force(self, fleet: Fleet) -> None:
        if fleet != self.fleet:
            await self._adopt(fleet)
        self.fleet = fleet

    async def run(self) -> None:
        """Take up edits of the file, if it says so (`policies.watch`), else say in the log once that they are not in
        force; until cancelled.
        """
        once = self._said
        while True:
            await asyncio.sleep(self._interval_s)
            pending = await self.pending()
            if pending.digest == self._said:
                once = self._said
            elif not self.fleet.policies.watch:
                self._warn(pending)
            elif pending.digest == once:
                await self.reload()
            else:
                # Half a file may be one that can be used: it counts when it is the same twice.
                once = pending.digest

    def _warn(self, pending: Pending) -> None:
        if pending.changed or pending.problems:
            log.warning("the fleet file's edit is not in force", changed=pending.changed, problems=pending.problems)
        self._said = pending.digest

    def mistakes(self) -> int:
        """Return how many the file has, as it was seen last."""
        return len(self.seen.problems) if self.seen is not None else 0

    async def pending(self) -> Pending:
        """Return what is not in force."""
        async with self._lock:
            self.seen = await asyncio.to_thread(self._look)
        return self.seen

    def _look(self) -> Pending:
        found = self._file.read()
        nothing = Pending(
            str(self._file.path.absolute()),
            found.digest,
            tuple(map(str, found.problems)),
            holds=self.fleet.policies.hold_timeout > 0,
            reload_haproxy=self.fleet.haproxy.reload,
            is_of_up=self._file.is_of_up,
        )
        if found.fleet is None:
            return nothing
        return replace(
            nothing,
            changed=differences(self.fleet, with_listeners_of(self.fleet, found.fleet)),
            needs_restart=needing_restart(self.fleet, found.fleet),
            folder=found.fleet.haproxy.files,
            rendered=tuple(self._rendered.differing(found.fleet)),
        )
