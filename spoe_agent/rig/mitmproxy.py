"""The stack with the mitmproxy addon in front: no agent process and no HAProxy."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from spoe_agent.mitmproxy.command import SCRIPT
from spoe_agent.rig.haproxy import front_is_ready
from spoe_agent.rig.process import Process, RigError
from spoe_agent.rig.stack import Stack

MISSING = "mitmproxy is not installed. Install it with: pip install 'pointsman[mitmproxy]'"


def find_mitmdump() -> str:
    """Return the mitmdump to use: $MITMDUMP, else the one beside this Python, else on the path. Raises RigError."""
    places = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    found = os.environ.get("MITMDUMP") or shutil.which("mitmdump", path=places)
    if not found:
        raise RigError(MISSING)
    return found


def version(binary: str) -> str:
    """Return `11.0.2` of `Mitmproxy: 11.0.2 ...`. Raises RigError."""
    try:
        said = subprocess.run([binary, "--version"], capture_output=True, text=True, check=True, timeout=60).stdout
    except (OSError, subprocess.SubprocessError) as error:
        raise RigError(f"cannot run {binary}: {error}") from error
    found = re.search(r"Mitmproxy: (\S+)", said)
    return found[1] if found else "unknown"


@dataclass(slots=True)
class MitmproxyStack(Stack):
    """`binary` is mitmdump's."""

    mitmdump: Process = field(init=False)

    async def _start_front(self) -> None:
        command = [self.binary, "-s", str(SCRIPT), "--set", f"pointsman_fleet={self.fleet_file}"]
        self.mitmdump = await self._exit.enter_async_context(Process("mitmdump", command, self.folder))
        await self.mitmdump.ready(lambda: front_is_ready(self.fleet))
