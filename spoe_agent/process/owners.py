"""Who has an address, for the message that it is taken.

Only what this user may see is found: other users' processes have an address without a name. Of a foreign process only
its name is told, because command lines may hold secrets.
"""

from __future__ import annotations

import socket
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from spoe_agent.fleet import Listen

_EVERY_HOST = ("0.0.0.0", "::")


OURS = "another Pointsman agent"


def owner(listen: Listen, kind: socket.SocketKind) -> str:
    """Return who has an address: "another Pointsman agent, process 4711", or "" when that cannot be found out.

    A socket may be several processes': an agent's guard has a copy of one.
    """
    found = [_described(process) for process in psutil.process_iter() if _has(process, listen, kind)]
    return min(found, key=lambda described: not described.startswith(OURS), default="")


def _has(process: psutil.Process, listen: Listen, kind: socket.SocketKind) -> bool:
    with suppress(OSError, psutil.Error):
        # A connected TCP socket has its address beside the one that listens; UDP has no state.
        return any(
            one.type == kind
            and (kind is not socket.SOCK_STREAM or listen.path or one.status == psutil.CONN_LISTEN)
            and _is_at(one.laddr, listen)
            for one in process.net_connections("unix" if listen.path else "inet")
        )
    return False


def _is_at(address: Any, listen: Listen) -> bool:
    """`address`: a path, or host and port; empty for a socket that has none."""
    if listen.path or not address:
        return bool(address == listen.path)
    return address.port == listen.port and address.ip in (listen.host, *_EVERY_HOST)


def _described(process: psutil.Process) -> str:
    with suppress(psutil.Error):
        words = process.cmdline()
        ours = any(word == "spoe_agent" or word.endswith("/pointsman") for word in words[:3])
        if ours and "serve" in words:
            return f"{OURS}, process {process.pid}"
        return f"process {process.pid} ({Path(words[0]).name if words else process.name()})"
    return f"process {process.pid}"
