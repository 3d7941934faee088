"""HAProxy's processes: who asks and logs here, and who has ended without a line for each request it had.

A reload starts a second process beside the first, which goes on with its streams, asks no more and, up to HAProxy 3.0,
hangs up at once: neither silence nor a closed connection proves it dead. Cases, the surest first:

1. it is connected, asked or logged a moment ago: it lives.
2. it runs on this host, and the operating system has no such process any more: it has ended.
3. it cannot be seen from here (another host, a container): it has ended when it is not connected and has neither
   asked nor logged for SILENT_S.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

SILENT_S = 600.0
"""Streams longer than this are rare, and one more request beside such a stream does little harm."""

SURE_S = 1.0
"""The log lines of a process that has just ended may still be on their way."""

PROC = Path("/proc")


@dataclass(slots=True)
class Heard:
    """What was heard of one process. Times are monotonic seconds."""

    heard_at_s: float
    asked_at_s: float | None = None
    connections: int = 0
    birth: str | None = None
    """As `birth` told when it was heard of first; None: it cannot be seen from here."""


class HAProxyProcesses:
    """Keeps who is there, by name. `birth` tells one life of a process id from the next; None: there is none such."""

    def __init__(self, clock: Callable[[], float], birth: Callable[[int], str | None]) -> None:
        self._clock = clock
        self._birth = birth
        self.heard: dict[str, Heard] = {}

    def asked(self, name: str) -> None:
        """Take note of a question."""
        heard = self._hear(name)
        heard.asked_at_s = heard.heard_at_s

    def expected(self, name: str) -> None:
        """Take note of one of which only an agent before this one heard."""
        self._hear(name)

    def logged(self, name: str) -> None:
        """Take note of a finished request's line. Who has ended, and is forgotten, does not come back for one."""
        if name in self.heard:
            self._hear(name)

    def connected(self, name: str) -> None:
        """Take note that a connection is this process's."""
        self._hear(name).connections += 1

    def disconnected(self, name: str) -> None:
        """Take note that one of them was closed."""
        if name in self.heard:
            self.heard[name].connections -= 1

    def take_ended(self) -> list[str]:
        """Return who has ended since the last time; it is known no more."""
        ended = [name for name, heard in self.heard.items() if self._has_ended(name, heard)]
        for name in ended:
            del self.heard[name]
        return ended

    def _hear(self, name: str) -> Heard:
        now_s = self._clock()
        heard = self.heard.get(name)
        if heard is None:
            heard = self.heard[name] = Heard(now_s, birth=self._birth(_pid(name)))
        heard.heard_at_s = now_s
        return heard

    def _has_ended(self, name: str, heard: Heard) -> bool:
        silent_s = self._clock() - heard.heard_at_s
        if heard.connections or silent_s < SURE_S:
            return False
        if heard.birth is None:
            return silent_s >= SILENT_S
        return self._birth(_pid(name)) != heard.birth


def _pid(name: str) -> int:
    """Return the process id with which haproxy.cfg begins a name; 0 when there is none."""
    number = name.partition("-")[0]
    return int(number) if number.isdecimal() else 0


def birth(pid: int) -> str | None:
    """Return when a HAProxy of this host was started, in the kernel's words; None when it is not there, or not seen.

    A process id may be another's in its own container, so what has it here must be a HAProxy.
    """
    try:
        command = (PROC / str(pid) / "cmdline").read_bytes()
        # proc(5): behind the name, which may hold anything, come the state and, as the 20th, the start time.
        state, *rest = (PROC / str(pid) / "stat").read_text(errors="replace").rpartition(")")[2].split()
    except (OSError, ValueError):
        return None
    return rest[18] if b"haproxy" in command and state != "Z" and len(rest) > 18 else None
