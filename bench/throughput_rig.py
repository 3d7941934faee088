"""What agent_throughput and body_memory measure: HAProxy, without and with the agent, before stand-ins for Ollama."""

from __future__ import annotations

import asyncio
import re
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml

from bench.throughput_files import ONE_THREAD, PLAIN, PLAIN_BUFSIZE, READS, WRK
from bench.throughput_load import Front
from spoe_agent.fleet import Fleet, load
from spoe_agent.haproxy.program import ENVIRONMENT
from spoe_agent.haproxy.render import BODY_HEADROOM_BYTES, haproxy_files, write
from spoe_agent.rig.haproxy import find_haproxy
from spoe_agent.rig.process import Process, RigError, accepts, free_port
from spoe_agent.rig.stack import agent_process

INSTANCES = 8
ARMS = ALONE, READS_BODIES, AGENT = "alone", "reads bodies", "agent"


@dataclass(frozen=True, slots=True)
class Rig:
    """All of it, running."""

    folder: Path
    fleet: Fleet
    fronts: Sequence[Front]


@asynccontextmanager
async def rig(arms: Sequence[str], answers: str) -> AsyncIterator[Rig]:
    """Start what the arms need, and end it. Raises RigError."""
    with tempfile.TemporaryDirectory(prefix="pointsman-bench-") as name:
        folder = Path(name)
        (folder / "wrk.lua").write_text(WRK)
        (folder / "one-thread.cfg").write_text(ONE_THREAD)
        fleet = _fleet(folder)
        async with AsyncExitStack() as running:
            await running.enter_async_context(_upstream(fleet, folder, answers))
            fronts = [await running.enter_async_context(_front(arm, fleet, folder)) for arm in arms]
            # HAProxy's checks of instances and agent have their first turn.
            await asyncio.sleep(2)
            yield Rig(folder, fleet, fronts)


def _fleet(folder: Path) -> Fleet:
    path = folder / "fleet.yaml"
    listeners = {
        "front": f"127.0.0.1:{free_port()}",
        "spop": f"unix@{folder}/spop.sock",
        "log": f"127.0.0.1:{free_port(socket.SOCK_DGRAM)}",
        "check": f"127.0.0.1:{free_port()}",
        "admin": f"127.0.0.1:{free_port()}",
        "door": f"127.0.0.1:{free_port()}",
    }
    instances = [{"name": f"gpu{n}", "url": f"http://127.0.0.1:{free_port()}"} for n in range(INSTANCES)]
    defaults = {"num_parallel": 64, "max_connections": 1024}
    path.write_text(yaml.safe_dump({"listeners": listeners, "defaults": defaults, "instances": instances}))
    return load(path)


@asynccontextmanager
async def _upstream(fleet: Fleet, folder: Path, answers: str) -> AsyncIterator[None]:
    ports = [str(instance.port) for instance in fleet.instances]
    command: list[str | Path] = [sys.executable, "-m", "bench.throughput_upstream", answers, *ports]
    async with Process("upstream", command, folder) as upstream:
        await upstream.ready(lambda: accepts(fleet.instances[-1].host, fleet.instances[-1].port))
        yield


@asynccontextmanager
async def _front(arm: str, fleet: Fleet, folder: Path) -> AsyncIterator[Front]:
    """Start HAProxy as the arm wants it, with the agent if the arm has one; end both."""
    port = fleet.listeners.front.port if arm == AGENT else free_port()
    config = _config(arm, fleet, port, folder / arm.replace(" ", "-"))
    async with AsyncExitStack() as running:
        agent = None
        if arm == AGENT:
            agent = await running.enter_async_context(agent_process(folder / "fleet.yaml", folder))
            await agent.ready(lambda: _exists(folder / "spop.sock"))
        command: list[str | Path] = [find_haproxy(), "-db", "-f", folder / "one-thread.cfg", "-f", config]
        haproxy = await running.enter_async_context(Process(f"haproxy-{arm.split()[0]}", command, folder, ENVIRONMENT))
        await haproxy.ready(lambda: accepts("127.0.0.1", port))
        yield Front(arm, port, haproxy, agent)


async def _exists(path: Path) -> bool:
    return path.exists()


def without_stdout(config: str) -> str:
    """Return a configuration whose HAProxy prints no line for each request: no other arm does. Raises RigError."""
    found, count = re.subn(r"^ *log +stdout .*\n", "", config, flags=re.M)
    if not count:
        raise RigError("haproxy.cfg has no line `log stdout`, which was to be taken out")
    return found


def _config(arm: str, fleet: Fleet, port: int, folder: Path) -> Path:
    files = haproxy_files(fleet)
    if arm != AGENT:
        servers = "\n".join(f"    server {i.name} {i.host}:{i.port}" for i in fleet.instances)
        large = fleet.policies.max_inspected_body + BODY_HEADROOM_BYTES
        rules, bufsize = (READS, large) if arm == READS_BODIES else ("", PLAIN_BUFSIZE)
        files["haproxy.cfg"] = PLAIN.format(port=port, servers=servers, rules=rules, bufsize=bufsize)
    else:
        files["haproxy.cfg"] = without_stdout(files["haproxy.cfg"])
    write(files, folder)
    return folder / "haproxy.cfg"
