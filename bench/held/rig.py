"""The stack as it is in production, with a door to HAProxy's counts and, if wanted, a lossy log.

Lives here: starting, and reading what HAProxy, agent and kernel say of themselves.
"""

from __future__ import annotations

import asyncio
import csv
import os
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from bench.held.relay import Relay
from spoe_agent.fleet.units import Listen
from spoe_agent.haproxy.render import haproxy_files, write
from spoe_agent.rig.process import Process, RigError, free_port
from spoe_agent.rig.stack import Stack, agent_process

STATS = "global\n    stats socket ipv4@127.0.0.1:{port} level user\n"
SERVERS, AGENT = "pointsman_ollama", "pointsman_agent"


@dataclass(slots=True)
class ObservedStack(Stack):
    """HAProxy's files are the rendered ones; a second file opens its statistics."""

    lost_share: float = 0.0
    """Of the log's datagrams."""
    relay: Relay | None = None
    stats_port: int = field(default_factory=free_port)
    web: aiohttp.ClientSession = field(init=False)

    async def _start_front(self) -> None:
        self.agent = await self._started(agent_process(self.fleet_file, self.folder), self.agent_is_ready)
        self.web = await self._exit.enter_async_context(aiohttp.ClientSession())
        listeners = self.fleet.listeners
        if self.lost_share:
            self.relay = await self._exit.enter_async_context(Relay(listeners.log.port, self.lost_share, seed=1))
            listeners = listeners.model_copy(update={"log": Listen("127.0.0.1", self.relay.port)})
        write(haproxy_files(self.fleet.model_copy(update={"listeners": listeners})), self.folder / "haproxy")
        stats = self.folder / "stats.cfg"
        stats.write_text(STATS.format(port=self.stats_port))
        command: list[str | Path] = [self.binary, "-db", "-f", stats, "-f", self.folder / "haproxy" / "haproxy.cfg"]
        self.haproxy = await self._started(Process("haproxy", command, self.folder), self._front_is_ready)

    @property
    def port(self) -> int:
        """Where clients connect."""
        return self.fleet.listeners.front.port

    async def status(self) -> dict[str, Any]:
        """Return what `pointsman status` shows."""
        return await self._json(f"http://{self.fleet.listeners.admin}/status")

    async def sim(self, instance: str, what: str) -> dict[str, Any]:
        """Return what a simulated instance says of itself: `stats` or `requests`."""
        return await self._json(f"{self._url(instance)}/sim/{what}")

    async def warm(self, instance: str, *models: str) -> None:
        """Load models for ever, behind HAProxy's back, and wait until the agent knows."""
        for model in models:
            body = {"model": model, "keep_alive": -1}
            async with self.web.post(f"{self._url(instance)}/api/generate", json=body) as answer:
                answer.raise_for_status()

        async def is_known() -> bool:
            shown = next(one for one in (await self.status())["instances"] if one["name"] == instance)
            return {f"{model}:latest" for model in models} <= {one["model"] for one in shown["loaded"]}

        await until(is_known, 20, f"{instance} has {models} loaded")

    async def show_stat(self) -> dict[tuple[str, str], dict[str, str]]:
        """Return HAProxy's statistics by proxy and server (management.txt 9.3)."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.stats_port)
        writer.write(b"show stat\n")
        text = (await reader.read()).decode().removeprefix("# ")
        writer.close()
        return {(row["pxname"], row["svname"]): row for row in csv.DictReader(text.strip().splitlines())}

    async def connections(self) -> Mapping[str, int]:
        """Return HAProxy's own count of requests at each instance, its queue included."""
        stat = await self.show_stat()
        names = [instance.name for instance in self.fleet.instances]
        return {name: int(stat[SERVERS, name]["scur"]) + int(stat[SERVERS, name]["qcur"]) for name in names}

    def log_lines(self) -> list[str]:
        """Return HAProxy's line of every request, whether or not it reached the agent."""
        return [line for line in self.haproxy.output.read_text().splitlines() if line.startswith("{")]

    def _url(self, instance: str) -> str:
        return next(one.url for one in self.fleet.instances if one.name == instance)

    async def _json(self, url: str) -> dict[str, Any]:
        async with self.web.get(url) as answer:
            found: dict[str, Any] = await answer.json()
            return found


async def until(condition: Callable[[], Awaitable[bool]], deadline_s: float, what: str) -> None:
    """Wait for a condition. Raises RigError when the deadline passes."""
    until_s = time.monotonic() + deadline_s
    while not await condition():
        if time.monotonic() > until_s:
            raise RigError(f"{what}: not within {deadline_s:.0f} s")
        await asyncio.sleep(0.05)


def resident_mb(process: Process) -> float:
    """Return the memory that a process holds."""
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{process.pid}/status").read_text())
    return int(found[1]) / 1024 if found else 0.0


def cpu_s(process: Process) -> float:
    """Return the processor time a process has used (proc(5), stat: utime and stime)."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
