"""Whether an address of this host can be had, and who has it. Nothing is left behind."""

from __future__ import annotations

import errno
import socket

from spoe_agent.fleet import Listen
from spoe_agent.process.owners import owner


def taken(listen: Listen, kind: socket.SocketKind = socket.SOCK_STREAM) -> str:
    """Return by whom an address is taken, or why it cannot be had; "" when it is free."""
    who = owner(listen, kind)
    if who:
        return f"taken by {who}"
    if listen.path is not None:
        return "taken by a process of another user" if _answers(listen.path) else ""
    return refused(listen, kind)


def refused(listen: Listen, kind: socket.SocketKind = socket.SOCK_STREAM) -> str:
    """Return why a TCP or UDP address cannot be had, whoever has it; "" when it is free."""
    with socket.socket(socket.AF_INET6 if ":" in listen.host else socket.AF_INET, kind) as probe:
        if kind is socket.SOCK_STREAM:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((listen.host, listen.port))
        except OSError as error:
            is_taken = error.errno == errno.EADDRINUSE
            return "taken by a process of another user" if is_taken else f"not to be had: {error.strerror or error}"
    return ""


def _answers(path: str) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(path) == 0
