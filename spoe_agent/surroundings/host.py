"""Whether this host lets all do their part: sockets, clocks, open files."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import psutil

from spoe_agent.fleet import Listen
from spoe_agent.haproxy.running import HAProxyProcess
from spoe_agent.process.limits import open_files
from spoe_agent.surroundings.remark import Remark, note, ok, wrong
from spoe_agent.surroundings.seen import Seen

CLOCK_S = 5.0
"""When a model is to be unloaded is a time by its Ollama's clock."""

_SPARE_FILES = 1024
_FILES_PER_REQUEST = 4
"""A request is a connection on either side, and at times a question and its answer."""


def clocks(seen: Seen) -> Iterator[Remark]:
    """Their clocks go as ours does."""
    for one in seen.ollamas:
        if one.ahead_s is not None and abs(one.ahead_s) > CLOCK_S:
            how = f"{abs(one.ahead_s):.0f} s {'ahead of' if one.ahead_s > 0 else 'behind'} this host's"
            hint = "until when models stay loaded is told by that clock: let both follow NTP (timedatectl set-ntp true)"
            yield wrong(f"{one.instance.name}: the clock of {one.instance.host} is {how}", hint)


def unix_sockets(seen: Seen) -> Iterator[Remark]:
    """HAProxy finds the agent's unix sockets from within its chroot, and its user may connect to them."""
    ours = seen.fleet.listeners.spop
    theirs = seen.fleet.haproxy.spop or ours
    pairs = [(mine, their) for mine, their in zip(ours, theirs, strict=False) if mine.path and their.path]
    if pairs and not seen.haproxies:
        yield note("HAProxy does not run: whether it reaches the agent's socket could not be seen")
    for mine, their in pairs:
        for process in seen.haproxies:
            yield _reaches(process, mine, their)


def _reaches(process: HAProxyProcess, mine: Listen, their: Listen) -> Remark:
    who = f"HAProxy (process {process.pid})"
    if process.root is None:
        return note(f"in which chroot {who} is cannot be seen", "run this as root")
    seen = Path(process.root + str(their.path)) if process.root != "/" else Path(str(their.path))
    agents = Path(str(mine.path))
    if not agents.exists():
        return note(f"the agent's socket {agents} is not there: does the agent run?")
    if not seen.exists() or not os.path.samefile(seen, agents):
        inside = f"{process.root.rstrip('/')}/pointsman/spop.sock"
        hint = f"write listeners.spop: unix@{inside} and haproxy.spop: unix@/pointsman/spop.sock (docs/deploy.md)"
        return wrong(f"{who} looks for the agent at {seen}, and the agent's socket is {agents}", hint)
    if not process.may_connect(agents):
        hint = "run the agent with HAProxy's group (Group=haproxy in its unit), which may write to the socket"
        return wrong(f"{who}, user {process.user}, may not connect to {agents}", hint)
    return ok(f"{who} may connect to {agents}")


def many_files(seen: Seen) -> Iterator[Remark]:
    """Nobody runs out of open files before the slots are full."""
    needed = _SPARE_FILES + _FILES_PER_REQUEST * sum(one.max_connections for one in seen.fleet.instances)
    limits = {f"HAProxy (process {one.pid})": _of(one.pid, most=True) for one in seen.haproxies}
    own = {f"{one.instance.name}'s Ollama": one.open_files for one in seen.ollamas}
    for who, limit in (limits | own).items():
        least = needed if who in limits else _SPARE_FILES
        if limit is not None and 0 <= limit < least:
            hint = f"raise it (LimitNOFILE={least} in its unit; ulimit -n)"
            yield wrong(f"{who} may have {limit} files open, and needs up to {least}", hint)


def _of(pid: int, *, most: bool) -> int | None:
    try:
        return open_files(psutil.Process(pid), most=most)
    except psutil.Error:
        return None
