"""HAProxy's processes on this host: as whom they run, and what they see of its files."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil


@dataclass(frozen=True, slots=True)
class HAProxyProcess:
    """One process that serves."""

    pid: int
    user: int
    groups: frozenset[int]
    root: str | None = None
    """Its `chroot`; "/" without; None: that cannot be seen (only root sees it of another user's process)."""

    def may_connect(self, socket: Path) -> bool:
        """Tell whether its user may connect to a unix socket: pass every folder to it, and write to it."""
        if self.user == 0:
            return True
        folders = all(self._may(folder, 0o1) for folder in socket.parents)
        return folders and self._may(socket, 0o2)

    def _may(self, path: Path, bit: int) -> bool:
        about = path.stat()
        shift = 6 if about.st_uid == self.user else 3 if about.st_gid in self.groups else 0
        return bool(about.st_mode >> shift & bit)


def running(processes: Iterable[psutil.Process] | None = None) -> Iterator[HAProxyProcess]:
    """Yield the processes that serve: with a master, its children. `processes`: all of this host."""
    found = [
        process
        for process in (psutil.process_iter() if processes is None else processes)
        if _name(process) == "haproxy"
    ]
    pids = {process.pid for process in found}
    workers = [process for process in found if _parent(process) in pids] or found
    for process in workers:
        with suppress(OSError, psutil.Error):
            groups = frozenset(_groups(process.pid)) | {process.gids().effective}
            yield HAProxyProcess(process.pid, process.uids().effective, groups, _root(process.pid))


def _name(process: psutil.Process) -> str:
    with suppress(psutil.Error):
        return process.name()
    return ""


def _parent(process: psutil.Process) -> int:
    with suppress(psutil.Error):
        return process.ppid()
    return 0


def _groups(pid: int) -> Iterator[int]:
    lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace").splitlines()
    yield from (int(word) for line in lines if line.startswith("Groups:") for word in line.split()[1:])


def _root(pid: int) -> str | None:
    with suppress(OSError):
        return os.readlink(f"/proc/{pid}/root")
    return None
