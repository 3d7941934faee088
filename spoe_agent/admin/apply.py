"""`pointsman apply`: an edited fleet file becomes true in HAProxy and in the agent, or nothing changes.

    1. The file is checked, and the agent asked whether it reads the same one and can follow it. Nobody else may have an
       address that HAProxy is to listen on.
    2. HAProxy's files are written, and tested with the configuration that HAProxy really runs.
    3. Agent and HAProxy are reloaded. Which comes first seldom matters, because the agent chooses no instance that the
       HAProxy which asks does not have. The agent comes first, unless requests are to be held from now on: a HAProxy
       that does not know how to wait would send them anywhere.
    4. A HAProxy process that was not there before asks the agent about what comes where clients connect, and has all
       instances: so it was started, and has all its addresses.

What fails undoes what was done before it, and so does whoever interrupts it.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from spoe_agent.admin.front import Ask, Before, why_not
from spoe_agent.admin.front import before as before_reload
from spoe_agent.faults import kind
from spoe_agent.fleet import Fleet, Listeners
from spoe_agent.fleet.file import EditedFile
from spoe_agent.haproxy.render import edited, haproxy_files, write
from spoe_agent.process.fronts import in_the_way, listening
from spoe_agent.written import LIST, another

COMMAND_DEADLINE_S = 60.0

KILL_DEADLINE_S = 2.0

PATIENCE_S = 10.0
"""So long HAProxy may take to start anew."""

Say = Callable[[str], None]
"""Told each thing that was done."""


class Refused(Exception):
    """The edit was not applied; the text says why."""


class NotUndone(Exception):
    """The edit was not applied, and not all that was done is as before; the text says what to do."""


@dataclass(frozen=True, slots=True)
class Edit:
    """What is to be applied."""

    digest: str
    source: Path
    fleet: Fleet
    folder: Path
    holds_now: bool
    """Requests are held now, and were not before."""
    reload_before: str
    """The command that reloads HAProxy, as the agent has it in force: the file's own may be what is wrong with it."""


async def apply(file: EditedFile, ask: Ask, say: Say, patience_s: float = PATIENCE_S) -> None:
    """Apply a fleet file. Raises Refused when nothing was changed in the end, NotUndone when something was."""
    edit = await _checked(file, ask, say)
    with _alone(edit.folder):
        before = _readable_contents(edit)
        running = (before["haproxy.cfg"] or b"").decode(errors="replace")
        others = await asyncio.to_thread(in_the_way, edit.fleet, running)
        if others:
            raise Refused("; ".join(others) + ". HAProxy could not listen there; nothing was changed")
        done: list[Callable[[], Awaitable[None]]] = []
        try:
            was = await before_reload(listening(running)[:1], ask, patience_s / 5, edit.fleet.listeners.prefix)
            await _apply(edit, ask, say, done)
            await _served(edit.fleet.listeners, was, ask, say, patience_s)
        except BaseException as error:
            await _undo(edit, before, done, _why(error), say)
            raise


async def _apply(edit: Edit, ask: Ask, say: Say, done: list[Callable[[], Awaitable[None]]]) -> None:
    """Do all steps; `done` gets how each one that is not a file is undone."""

    async def undo_haproxy() -> None:
        await _run(edit.reload_before, "HAProxy's reload")

    name = uuid4().hex

    async def undo_agent() -> None:
        await ask("POST", f"/reload/undo?name={name}")

    _write(edit, say)
    await _run(edit.fleet.haproxy.test, "HAProxy's test of its configuration")
    say(f"HAProxy's configuration is good: {edit.fleet.haproxy.test}")

    async def agent() -> None:
        # Also when no answer comes: the agent may take the file up later. It undoes this reload and no other.
        done.append(undo_agent)
        answer = await ask("POST", f"/reload?name={name}")
        if answer["digest"] != edit.digest:
            raise Refused("the fleet file was edited meanwhile")
        say(f"agent: {', '.join(answer['changed']) or 'nothing changes'}")

    async def haproxy() -> None:
        # Also when the command fails: nobody knows how far it came.
        done.append(undo_haproxy)
        await _run(edit.fleet.haproxy.reload, "HAProxy's reload")
        say(f"HAProxy reloaded: {edit.fleet.haproxy.reload}")

    # HAProxy comes last in any case: it reads the map of models that the agent has written meanwhile.
    for step in (haproxy, agent, haproxy) if edit.holds_now else (agent, haproxy):
        await step()


async def _checked(file: EditedFile, ask: Ask, say: Say) -> Edit:
    found = file.read()
    if found.fleet is None:
        raise Refused("\n".join(map(str, found.problems)))
    if found.fleet.haproxy.files is None:
        raise Refused(f"{file.path}: haproxy.files: is missing; write the folder of HAProxy's files, like {_EXAMPLE}")
    say(f"{file.path}: ok")
    status = await ask("GET", "/status")
    agents = status["fleet"]
    if agents["digest"] != found.digest:
        raise Refused(f"the agent reads {agents['file']}, which is not the same as {file.path.absolute()}")
    if agents["needs_restart"]:
        keys = ", ".join(agents["needs_restart"])
        raise Refused(f"{keys}: the agent must be restarted for that (pointsman restart), then apply again")
    holds_now = found.fleet.policies.hold_timeout > 0 and not agents["holds"]
    return Edit(
        found.digest, file.path, found.fleet, Path(found.fleet.haproxy.files), holds_now, agents["reload_haproxy"]
    )


_EXAMPLE = "/etc/pointsman/haproxy"


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One at a time: two would undo each other's work."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise Refused(f"cannot write HAProxy's files: {error}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise Refused("another `pointsman apply` is at work") from None
    finally:
        os.close(lock)


def _contents(edit: Edit) -> dict[str, bytes | None]:
    """Return HAProxy's files and their list as they are; None: there is none of that name."""
    found: dict[str, bytes | None] = {}
    for name in (*haproxy_files(edit.fleet), LIST):
        path = edit.folder / name
        found[name] = path.read_bytes() if path.exists() else None
    return found


def _readable_contents(edit: Edit) -> dict[str, bytes | None]:
    try:
        return _contents(edit)
    except OSError as error:
        raise Refused(f"cannot read HAProxy's files as they are: {error}") from error


def _write(edit: Edit, say: Say) -> None:
    before, texts = _contents(edit), haproxy_files(edit.fleet)
    try:
        foreign = edited(texts, edit.folder)
        if foreign:
            hint = f"pointsman render haproxy --out {edit.folder} shows what (--diff), or overwrites it (--force)"
            raise Refused(f"{edit.folder}: {', '.join(foreign)} edited by hand since it was rendered; {hint}")
        other = another(edit.source, edit.folder)
        if other:
            hint = f"write another folder; or take it: pointsman render haproxy --out {edit.folder} --force"
            raise Refused(f"haproxy.files: {edit.folder} has files of another fleet file, {other}; {hint}")
        write(texts, edit.folder, edit.source)
    except OSError as error:
        raise Refused(f"cannot write HAProxy's files: {error}") from error
    changed = [name for name, content in _contents(edit).items() if content != before[name] and name != LIST]
    say(f"{edit.folder}: {', '.join(changed) + ' written' if changed else 'as it was'}")


async def _run(command: str, what: str) -> None:
    """Run a shell command of the fleet file. Raises Refused with its last words when it fails."""
    child = await asyncio.create_subprocess_shell(
        command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(COMMAND_DEADLINE_S):
            said, _ = await child.communicate()
    except TimeoutError:
        raise Refused(f"{what} took more than {COMMAND_DEADLINE_S:.0f} s: {command}") from None
    finally:
        await _ended(child)
    if child.returncode:
        words = "\n".join(said.decode("utf-8", "replace").splitlines()[-20:])
        raise Refused(f"{what} failed with status {child.returncode}: {command}\n{words}".rstrip())


async def _ended(child: asyncio.subprocess.Process) -> None:
    """End what still runs: nothing may go on beside the undoing."""
    if child.returncode is None:
        # With whoever the shell has started: they keep its output open.
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        with suppress(TimeoutError):
            async with asyncio.timeout(KILL_DEADLINE_S):
                await child.wait()


async def _served(listeners: Listeners, was: Before, ask: Ask, say: Say, patience_s: float) -> None:
    """Wait until the HAProxy that was reloaded serves clients."""
    front = listeners.front
    found = await why_not(front, was, ask, patience_s, listeners.prefix)
    if found:
        raise Refused(f"HAProxy was reloaded, and {found}; its log says why")
    say(
        f"HAProxy serves at {front}"
        if found is not None
        else f"Note: nobody answers at {front}, as before: whether HAProxy serves clients cannot be seen from here"
    )


async def _undo(
    edit: Edit,
    before: Mapping[str, bytes | None],
    done: list[Callable[[], Awaitable[None]]],
    why: str,
    say: Say,
) -> None:
    """Undo as much as can be, HAProxy's files first: a reload reads them."""

    async def restore() -> None:
        _restore(edit.folder, before)

    failed: list[str] = []
    for undo in (restore, *reversed(done)):
        try:
            await undo()
        except Exception as error:
            failed.append(_why(error))
    if failed:
        look = f"Look at {edit.folder}, at HAProxy and at `pointsman status`; the fleet file is as you edited it."
        raise NotUndone("\n".join([why, "and that could not be undone:", *failed, look]))
    say("undone: HAProxy and the agent go on as before")


def _why(error: BaseException) -> str:
    if isinstance(error, asyncio.CancelledError | KeyboardInterrupt):
        return "interrupted"
    return str(error) if isinstance(error, OSError | Refused) else kind(error)


def _restore(folder: Path, before: Mapping[str, bytes | None]) -> None:
    for name, content in before.items():
        path = folder / name
        if content is None:
            path.unlink(missing_ok=True)
        elif not path.exists() or path.read_bytes() != content:
            path.write_bytes(content)
