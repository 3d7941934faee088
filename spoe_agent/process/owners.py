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


def owner(listen: Listen, kind: socket.SocketKind) -> str:
    """Return who has an address: "another Pointsman agent, process 4711", or "" when that cannot be found out."""
    with suppress(OSError, psutil.Error):
        for one in psutil.net_connections("unix" if listen.path else "inet"):
            # A connected TCP socket has its address beside the one that listens; UDP has no state.
            keeps = kind is not socket.SOCK_STREAM or listen.path or one.status == psutil.CONN_LISTEN
            if one.pid is not None and one.type == kind and keeps and _is_at(one.laddr, listen):
                return _described(psutil.Process(one.pid))
    return ""


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
            return f"another Pointsman agent, process {process.pid}"
        return f"process {process.pid} ({Path(words[0]).name if words else process.name()})"
    return f"process {process.pid}"
