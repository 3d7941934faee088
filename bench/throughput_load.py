"""One measurement of agent_throughput: wrk against a front, and what that took of each process."""

from __future__ import annotations

import asyncio
import os
import re
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from bench.bodies import body
from spoe_agent.fleet import Fleet
from spoe_agent.rig.process import Process, RigError

SIZES = {"small": 0, "10KB": 10_000, "100KB": 100_000, "1MB": 1_000_000, "4MB": 4_000_000}
MIXED = "mixed"
MIXTURE = ("small", "10KB", "small", "100KB", "small", "1MB", "10KB", "4MB")
"""Sizes of mixed bodies, in turn."""
PLACES = ("first", "last")
BODIES = 8
"""As many are sent in turn."""


@dataclass(frozen=True, slots=True)
class Load:
    """What is sent."""

    size: str
    place: str
    """Of `model` in the body."""
    connections: int

    def bodies(self, folder: Path) -> list[Path]:
        """Write the bodies, if they are not there, and return where."""
        sizes = MIXTURE if self.size == MIXED else [self.size] * BODIES
        paths = [folder / f"{self.size}-{self.place}-{seed}.json" for seed in range(BODIES)]
        for seed, (path, size) in enumerate(zip(paths, sizes, strict=True)):
            if not path.exists():
                path.write_bytes(body(seed, SIZES[size], is_last=self.place == "last"))
        return paths


@dataclass(frozen=True, slots=True)
class Front:
    """One arm: HAProxy, with the agent if it has one."""

    arm: str
    port: int
    haproxy: Process
    agent: Process | None = None


@dataclass(frozen=True, slots=True)
class Measured:
    """One arm under one load."""

    arm: str
    size: str
    place: str
    connections: int
    requests: int
    requests_per_s: float
    p50_ms: float
    p99_ms: float
    errors: int
    haproxy_s: float
    """CPU time of HAProxy for 1,000 requests."""
    agent_s: float
    """The same of the agent."""
    fell_back: float
    """Share of the requests that went on without the agent."""
    haproxy_mb: float
    """Resident memory of HAProxy behind it."""
    agent_mb: float
    haproxy_peak_mb: float
    """Its most since it was started."""


async def measured(front: Front, load: Load, seconds: int, folder: Path, fleet: Fleet) -> Measured:
    """Send for so many seconds; return what came of it. Raises RigError."""
    url = f"http://127.0.0.1:{front.port}/api/chat"
    options = ["-t1", f"-c{load.connections}", f"-d{seconds}s", "--timeout", "60s", "--latency"]
    command = ["wrk", *options, "-s", str(folder / "wrk.lua"), url, "--", *map(str, load.bodies(folder))]
    pids = front.haproxy.pid, front.agent.pid if front.agent else None
    before, known = [_cpu_s(pid) for pid in pids], await _known(fleet, front.agent)
    child = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    out, _ = await child.communicate()
    haproxy_s, agent_s = (_cpu_s(pid) - then for pid, then in zip(pids, before, strict=True))
    lines, fell_back = (now - then for now, then in zip(await _known(fleet, front.agent), known, strict=True))
    said = out.decode()
    requests = max(1, int(_find(r"(\d+) requests in", said)))
    failures = re.search(r"Non-2xx or 3xx responses: (\d+)", said)
    return Measured(
        front.arm,
        load.size,
        load.place,
        load.connections,
        requests,
        float(_find(r"Requests/sec:\s+([\d.]+)", said)),
        _milliseconds(_find(r"50%\s+(\d\S*)", said)),
        _milliseconds(_find(r"99%\s+(\d\S*)", said)),
        int(failures[1]) if failures else 0,
        haproxy_s / requests * 1000,
        agent_s / requests * 1000,
        fell_back / max(1, lines),
        _resident_mb(pids[0]),
        _resident_mb(pids[1]),
        _resident_mb(pids[0], "VmHWM"),
    )


async def _known(fleet: Fleet, agent: Process | None) -> tuple[int, int]:
    """Return how many requests the agent knows to have ended, and how many of them without having asked it."""
    if agent is None:
        return 0, 0
    # Its log's lines are on their way.
    await asyncio.sleep(0.5)
    async with aiohttp.ClientSession() as session, session.get(f"http://{fleet.listeners.admin}/status") as answer:
        haproxy = (await answer.json())["haproxy"]
    return haproxy["lines"], haproxy["fell_back"]


def _cpu_s(pid: int | None) -> float:
    """Return the CPU time that a process has taken."""
    if pid is None:
        return 0.0
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _find(pattern: str, said: str) -> str:
    found = re.search(pattern, said)
    if found is None:
        raise RigError(f"wrk printed something unexpected:\n{said}")
    return found[1]


def _milliseconds(text: str) -> float:
    for unit, factor in (("us", 0.001), ("ms", 1.0), ("s", 1000.0)):
        if text.endswith(unit):
            return float(text.removesuffix(unit)) * factor
    raise RigError(f"wrk printed a time without a unit: {text}")


def _resident_mb(pid: int | None, field: str = "VmRSS") -> float:
    if pid is None:
        return 0.0
    return int(_find(rf"{field}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())) / 1024
