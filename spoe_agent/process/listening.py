"""The agent's own addresses: all are bound before anything else happens, or none is and it is said who has them.

Lives here: sockets, bound but not listening yet, and what is in the way.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from pydantic import TypeAdapter

from spoe_agent.fleet import Listen, Listeners
from spoe_agent.fleet.units import AnyListen
from spoe_agent.process.owners import owner, owners

SOCKET_MODE = 0o660
"""HAProxy's group may connect."""


class Taken(OSError):
    """Addresses that cannot be had; the text names each, who has it, and what to do."""


@dataclass(frozen=True, slots=True)
class ListenerAddress:
    """One address of the fleet file."""

    key: str
    listen: Listen
    kind: socket.SocketKind = socket.SOCK_STREAM

    def __str__(self) -> str:
        proto = "UDP " if self.kind is socket.SOCK_DGRAM else "" if self.listen.path else "TCP "
        return f"listeners.{self.key} ({proto}{self.listen})"

    @classmethod
    def of(cls, text: str) -> Self:
        """Return the place that was written so."""
        key, address = text.removeprefix("listeners.").removesuffix(")").split(" (")
        proto, _, listen = address.rpartition(" ")
        return cls(key, _LISTEN.validate_python(listen), socket.SOCK_DGRAM if proto == "UDP" else socket.SOCK_STREAM)


_LISTEN: TypeAdapter[Listen] = TypeAdapter(AnyListen)

ASKED_AT = ("spop", "log", "door")
"""Listeners that requests depend on. A check that finds nobody changes nothing, and `admin` is people's."""


def addresses(listeners: Listeners) -> Iterator[ListenerAddress]:
    """Return every address that the agent itself listens on."""
    yield ListenerAddress("admin", listeners.admin)
    yield ListenerAddress("door", listeners.door)
    for listen in listeners.spop:
        yield ListenerAddress("spop", listen)
    yield ListenerAddress("log", listeners.log, socket.SOCK_DGRAM)
    yield ListenerAddress("check", listeners.check)


class Sockets:
    """The sockets of a fleet's listeners. Closing them removes unix sockets that are still this agent's."""

    def __init__(
        self,
        by_address: Mapping[ListenerAddress, socket.socket],
        lock: socket.socket,
        former: Sequence[ListenerAddress] = (),
    ) -> None:
        self._by_address = dict(by_address)
        self.lock = lock
        self.former = tuple(former)
        """Those of them that are not in the fleet file any more."""
        self._inodes = {
            address: os.stat(address.listen.path).st_ino
            for address in self._by_address
            if address.listen.path is not None
        }

    def of(self, key: str) -> list[socket.socket]:
        """Return copies of the sockets of one listener, in the file's order and then former ones: whoever serves on one
        may close it.
        """
        return [sock.dup() for address, sock in self._by_address.items() if address.key == key]

    def by_address(self) -> dict[str, socket.socket]:
        """Return all, by what they listen on."""
        return {str(address): sock for address, sock in self._by_address.items()}

    def leave(self) -> None:
        """Another process has them: close them here, and remove nothing."""
        self._inodes.clear()
        self.close()

    def close(self) -> None:
        """Give all addresses back."""
        for address, sock in self._by_address.items():
            sock.close()
            remove(address.listen, self._inodes.get(address))
        self.lock.close()


def take(
    listeners: Listeners,
    had: Mapping[str, socket.socket] | None = None,
    lock: socket.socket | None = None,
    *,
    keeps: bool = False,
) -> Sockets:
    """Bind every address. Raises Taken, and then nothing was disturbed.

    `had` and `lock`: what the agent had whose place this one takes; what this one does not want is closed, unless it
    `keeps` where HAProxy may still ask, which has not been told.
    """
    had = dict(had or {})
    bound: dict[ListenerAddress, socket.socket] = {}
    refused: list[str] = []
    for address in addresses(listeners):
        try:
            inherited = had.pop(str(address), None)
            bound[address] = inherited or bind(address.listen, address.kind, is_shared=address.key == "check")
        except OSError as error:
            refused.append(_refusal(address, error))
    if lock is not None and any(address.startswith("listeners.check ") for address in had):
        lock.close()
        lock = None
    lock = lock or _only_agent(listeners.check)
    former = [address for address in map(ListenerAddress.of, had) if keeps and address.key in ASKED_AT]
    for text, sock in had.items():
        if ListenerAddress.of(text) not in former:
            sock.close()
    if lock is None:
        refused.append(f"{ListenerAddress('check', listeners.check)} is taken by {_agent_at(listeners.check)}")
    if lock is None or refused:
        for sock in (*bound.values(), *had.values(), *([lock] if lock else [])):
            sock.close()
        raise Taken("; ".join(refused) + f". {_ADVICE}")
    return Sockets({**bound, **{address: had[str(address)] for address in former}}, lock, former)


_ADVICE = (
    "Nothing was changed. One agent serves one fleet: if it is this fleet's, it runs already (pointsman status; "
    "pointsman restart puts a new one in its place); a second fleet on this host needs `listeners` of its own"
)


def bind(listen: Listen, kind: socket.SocketKind = socket.SOCK_STREAM, *, is_shared: bool = False) -> socket.socket:
    """Return a socket bound to an address. Raises OSError when it is taken.

    `is_shared`: the guard of an agent that has just ended may still have the port (haproxy.guard).
    """
    if listen.path:
        return _bind_unix(Path(listen.path))
    sock = socket.socket(socket.AF_INET6 if ":" in listen.host else socket.AF_INET, kind)
    try:
        if kind is socket.SOCK_STREAM:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if is_shared:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind((listen.host, listen.port))
    except OSError:
        sock.close()
        raise
    return sock


def _bind_unix(path: Path) -> socket.socket:
    """A socket that nobody answers on was left by an agent that is dead."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_socket():
        with socket.socket(socket.AF_UNIX) as probe, suppress(ConnectionRefusedError):
            probe.connect(str(path))
            raise FileExistsError(0, "somebody answers there")
        path.unlink()
    sock = socket.socket(socket.AF_UNIX)
    try:
        sock.bind(str(path))
        path.chmod(SOCKET_MODE)
    except OSError:
        sock.close()
        raise
    return sock


def remove(listen: Listen, inode: int | None) -> None:
    """Remove a unix socket, unless a successor has put its own there already."""
    if listen.path is not None:
        with suppress(FileNotFoundError):
            if os.stat(listen.path).st_ino == inode:
                os.unlink(listen.path)


def _only_agent(check: Listen) -> socket.socket | None:
    """Return a lock for the port that a guard may share; None: another agent lives that has it.

    An abstract name (unix(7)) goes with its process, however that ends.
    """
    lock = socket.socket(socket.AF_UNIX)
    try:
        lock.bind(f"\0pointsman check {check}")
    except OSError:
        lock.close()
        return None
    return lock


def _agent_at(check: Listen) -> str:
    return next((str(one) for one in owners(check) if one.is_agent), "another Pointsman agent")


def _refusal(address: ListenerAddress, error: OSError) -> str:
    who = owner(address.listen, address.kind)
    if who:
        return f"{address} is taken by {who}"
    return f"{address}: {error.strerror or error}"
