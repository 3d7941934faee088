"""Who has an address: looked up in /proc, for the message that it is taken.

Only what this user may see is found: other users' processes have an address without a name. Of a foreign process only
its name is told, because command lines may hold secrets.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from spoe_agent.fleet import Listen

_PROC = Path("/proc")
_LISTENING = "0A"
"""A TCP socket's state in /proc/net/tcp; UDP has none."""


def owner(listen: Listen, kind: socket.SocketKind) -> str:
    """Return who has an address: "another Pointsman agent, process 4711", or "" when that cannot be found out."""
    inodes = set(_unix(listen.path) if listen.path else _inet(listen, kind))
    for fds in _PROC.glob("[0-9]*/fd"):
        with suppress(OSError):
            if any(_inode(fd) in inodes for fd in fds.iterdir()):
                return _described(int(fds.parent.name))
    return ""


def _unix(path: str) -> Iterator[str]:
    for row in _rows("unix"):
        if row[-1] == path:
            yield row[6]


def _inet(listen: Listen, kind: socket.SocketKind) -> Iterator[str]:
    name = "tcp" if kind is socket.SOCK_STREAM else "udp"
    port = f"{listen.port:04X}"
    hosts = {_hex(listen.host), _hex("0.0.0.0"), _hex("::")}
    for row in (*_rows(name), *_rows(f"{name}6")):
        host, _, has = row[1].partition(":")
        if has == port and host in hosts and (name == "udp" or row[3] == _LISTENING):
            yield row[9]


def _hex(host: str) -> str:
    """Return an address as /proc/net has it: words of 32 bits in this machine's byte order."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        packed = socket.inet_pton(family, host)
    except OSError:  # a name
        return ""
    return "".join(f"{word:08X}" for word in struct.unpack(f"={len(packed) // 4}I", packed))


def _rows(name: str) -> list[list[str]]:
    try:
        return [line.split() for line in (_PROC / "net" / name).read_text().splitlines()[1:]]
    except OSError:
        return []


def _inode(fd: Path) -> str:
    with suppress(OSError):
        target = str(fd.readlink())
        if target.startswith("socket:["):
            return target[8:-1]
    return ""


def _described(pid: int) -> str:
    with suppress(OSError):
        words = (_PROC / str(pid) / "cmdline").read_bytes().decode("utf-8", "replace").split("\0")
        ours = any(word == "spoe_agent" or word.endswith("/pointsman") for word in words[:3])
        if ours and "serve" in words:
            return f"another Pointsman agent, process {pid}"
        return f"process {pid} ({Path(words[0]).name})"
    return f"process {pid}"
