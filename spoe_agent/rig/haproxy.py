"""HAProxy binaries and a running HAProxy for a fleet."""

from __future__ import annotations

from pathlib import Path

from spoe_agent.fleet import Fleet
from spoe_agent.haproxy import program
from spoe_agent.haproxy.render import haproxy_files, write
from spoe_agent.rig.process import Process, accepts
from spoe_agent.rig.program import asked, required

MISSING = "HAProxy is not installed. Install it with your package manager, for example: apt-get install haproxy"


def find_haproxy() -> str:
    """Return the HAProxy to use: $HAPROXY, else the one on the path (or in sbin). Raises RigError."""
    return required(program.find(), "HAPROXY", MISSING)


def version(binary: str) -> str:
    """Return `2.6.12` of `HAProxy version 2.6.12-1+deb12u3 ...`. Raises RigError."""
    return asked(program.version, binary)


def haproxy(binary: str, fleet: Fleet, folder: Path) -> Process:
    """Return HAProxy, not started, with its files for this fleet below `folder` and the fleet's runtime sockets."""
    write(haproxy_files(fleet), folder / "haproxy")
    sockets = "".join(f"    stats socket {path} level admin\n" for path in fleet.haproxy.runtime)
    (folder / "sockets.cfg").write_text(f"global\n{sockets}")
    command: list[str | Path] = [binary, "-db", "-f", folder / "sockets.cfg"]
    command += ["-f", folder / "haproxy" / "haproxy.cfg"]
    return Process("haproxy", command, folder, program.ENVIRONMENT)


async def front_is_ready(fleet: Fleet) -> bool:
    """Tell whether the front port accepts connections."""
    return await accepts("127.0.0.1", fleet.listeners.front.port)
