"""What a service manager is told (sd_notify(3)); without one, nothing is done."""

from __future__ import annotations

import asyncio
import os
import socket

import structlog

log = structlog.get_logger()


def notify(*lines: str) -> None:
    """Tell the service manager. A failure is logged: the agent serves without."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            # An address with @ is an abstract one (unix(7)).
            sock.sendto("\n".join(lines).encode(), f"\0{address[1:]}" if address.startswith("@") else address)
    except OSError as error:
        log.warning("the service manager cannot be told", what=lines[0], why=str(error))


async def pet_watchdog() -> None:
    """Say twice in each `WatchdogSec=` that the agent's loop turns, until cancelled."""
    every_s = int(os.environ.get("WATCHDOG_USEC") or 0) / 2e6
    while every_s:
        notify("WATCHDOG=1")
        await asyncio.sleep(every_s)
