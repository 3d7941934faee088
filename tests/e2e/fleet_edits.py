"""What the end-to-end tests of a changing fleet share: HAProxy as a service that can be reloaded, and more Ollamas."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from spoe_agent.rig.process import Process, accepts, free_port
from spoe_agent.rig.stack import POINTSMAN, Simulated, Stack

SERVICE = """#!/bin/sh
# Starts HAProxy, or starts a new one beside the old and has that finish: what a service manager does. The new one gets
# the old one's listening sockets, as a master process sees to: no connection is refused.
old=$(cat {pid} 2>/dev/null)
exec {binary} -D -p {pid} -f {told} -f {folder}/haproxy/haproxy.cfg \\
    ${{old:+-x {folder}/haproxy.sock -sf $old}} >>{folder}/haproxy.log 2>&1
"""


class Service(Stack):
    """A stack whose HAProxy is reloaded by a command, as `pointsman apply` does it."""

    @property
    def pid(self) -> Path:
        """Where HAProxy's process id is."""
        return self.folder / "haproxy.pid"

    def edited(self, **keys: Any) -> None:
        """Write the fleet file anew with other top-level keys."""
        document = {**json.loads(self.fleet_file.read_text()), **keys}
        self.fleet_file.write_text(json.dumps(document, indent=1))

    def instances(self) -> list[dict[str, Any]]:
        """Return the instances of the fleet file as it is now."""
        found: list[dict[str, Any]] = json.loads(self.fleet_file.read_text())["instances"]
        return found

    def listeners(self) -> dict[str, Any]:
        """Return the addresses of the fleet file as it is now."""
        found: dict[str, Any] = json.loads(self.fleet_file.read_text())["listeners"]
        return found

    async def command(self, *words: str) -> tuple[int, str]:
        """Run a command of `pointsman`; return its status and what it said."""
        child = await asyncio.create_subprocess_exec(
            *POINTSMAN,
            *words,
            *("--fleet", str(self.fleet_file)),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        said, _ = await child.communicate()
        return child.returncode or 0, said.decode()


@asynccontextmanager
async def service(binary: str, folder: Path, simulated: Simulated, **settings: Any) -> AsyncIterator[Service]:
    """Run a stack with HAProxy as a service; ends every HAProxy that was started for it, by its id."""
    told = folder / "told.cfg"
    sock = f"stats socket {folder}/haproxy.sock level admin expose-fd listeners"
    told.write_text(f"global\n  {sock}\n  hard-stop-after 3s\n")
    script = folder / "service.sh"
    script.write_text(SERVICE.format(pid=folder / "haproxy.pid", binary=binary, told=told, folder=folder))
    script.chmod(0o755)
    haproxy = {
        "files": str(folder / "haproxy"),
        "test": f"{binary} -c -q -f {told} -f {folder}/haproxy/haproxy.cfg",
        "reload": str(script),
    }
    stack = Service(folder, binary, simulated, settings={"haproxy": haproxy, **settings})
    try:
        async with stack:
            # The one that the stack started makes way for one that is reloaded.
            await stack.haproxy.stop()
            code, said = await _run(script)
            assert code == 0, said
            yield stack
    finally:
        # Those before it end by themselves (hard-stop-after).
        for pid in stack.pid.read_text().split():
            os.kill(int(pid), signal.SIGKILL)


async def _run(script: Path) -> tuple[int, str]:
    child = await asyncio.create_subprocess_exec(str(script), stdout=asyncio.subprocess.PIPE)
    said, _ = await child.communicate()
    return child.returncode or 0, said.decode()


@asynccontextmanager
async def another_ollama(stack: Stack, name: str, models: Sequence[tuple[str, str]]) -> AsyncIterator[dict[str, Any]]:
    """Run one more simulated Ollama with models of its own; gives its entry for the fleet file."""
    url = f"127.0.0.1:{free_port()}"
    command = [*POINTSMAN, "simulate", "--listen", url, "--time-scale", "50", "--vram", "48GiB"]
    for model, size in models:
        command += ["--models", f"{model}={size}"]
    async with Process(name, command, stack.folder) as process:
        await process.ready(lambda: accepts("127.0.0.1", int(url.rpartition(":")[2])))
        yield {"name": name, "url": f"http://{url}"}
