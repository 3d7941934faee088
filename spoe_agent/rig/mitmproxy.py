"""The stack with the mitmproxy addon in front: no agent process and no HAProxy."""

from __future__ import annotations

from dataclasses import dataclass, field

from spoe_agent.mitmproxy import program
from spoe_agent.mitmproxy.command import SCRIPT
from spoe_agent.rig.process import Process
from spoe_agent.rig.program import asked, required
from spoe_agent.rig.stack import Stack

MISSING = "mitmproxy is not installed. Install it with: pip install '.[mitmproxy]' in a checkout of Pointsman"


def find_mitmdump() -> str:
    """Return the mitmdump to use: $MITMDUMP, else the one beside this Python, else on the path. Raises RigError."""
    return required(program.find(), "MITMDUMP", MISSING)


def version(binary: str) -> str:
    """Return `11.0.2` of `Mitmproxy: 11.0.2 ...`. Raises RigError."""
    return asked(program.version, binary)


@dataclass(slots=True)
class MitmproxyStack(Stack):
    """`binary` is mitmdump's."""

    mitmdump: Process = field(init=False)

    async def _start_front(self) -> None:
        command = [self.binary, "-s", str(SCRIPT), "--set", f"pointsman_fleet={self.fleet_file}"]
        self.mitmdump = await self._started(Process("mitmdump", command, self.folder), self._front_is_ready)
