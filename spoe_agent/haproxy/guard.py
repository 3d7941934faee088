"""Gives HAProxy the fleet file's limits back when the agent is gone.

HAProxy keeps the last limit that an agent-check told it; a check that finds nobody changes nothing. So a child of the
agent holds the same listening socket. It does nothing while the agent beats. When the agent has died or hangs, it
answers every instance's check with what the fleet file says; when all have asked, it ends, or when nobody has for
TOLD_S: then there is no HAProxy. Usage, by check.Guard only: `python -m spoe_agent.haproxy.guard FD TOLD_S`; each line
of standard input is a beat; one that is not empty has the answers by name, as JSON.

Only the standard library, and little of it: it starts fast and stays small.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import sys
from collections.abc import Mapping
from contextlib import suppress

HUNG_S = 3.0
"""Without a beat for so long, the agent does not answer."""

END = b"end"
"""Another agent has taken over."""

READ_S = 0.2
STDIN = 0


def main() -> None:
    """Guard until the agent is gone and HAProxy knows."""
    # Service managers signal the whole group; the end comes with the agent's.
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    listener, told_s = socket.socket(fileno=int(sys.argv[1])), float(sys.argv[2])
    lines: dict[str, str] = {}
    beats = b""
    while True:
        if not select.select([STDIN], [], [], HUNG_S)[0]:
            answer(listener, lines)
        heard = os.read(STDIN, 1 << 20)
        if not heard:
            break
        whole, _, beats = (beats + heard).rpartition(b"\n")
        told = [line for line in whole.split(b"\n") if line]
        if END in told:
            return
        if told:
            lines = json.loads(told[-1])
    left = set(lines)
    while left and select.select([listener], [], [], told_s)[0]:
        left.discard(answer_one(listener, lines))


def answer(listener: socket.socket, lines: Mapping[str, str]) -> None:
    """Answer checks until the agent beats again, or ends."""
    while STDIN not in select.select([listener.fileno(), STDIN], [], [])[0]:
        answer_one(listener, lines)


def answer_one(listener: socket.socket, lines: Mapping[str, str]) -> str:
    """Answer one check; return whose it was, "" when it was nobody's."""
    try:
        connection, _ = listener.accept()
    except OSError:  # the agent was faster, or the caller has left
        return ""
    with connection, suppress(OSError):
        connection.settimeout(READ_S)
        name = connection.recv(256).decode("utf-8", "replace").strip()
        if name in lines:
            connection.sendall(f"{lines[name]}\n".encode())
            return name
    return ""


if __name__ == "__main__":
    main()
