"""What the agent costs: HAProxy without and with it, in one run on one machine.

Three arms, one after another, each under the same load (wrk) and with the same upstream (a second HAProxy that
takes the body and answers by itself): `plain` is HAProxy balancing by leastconn; `reads bodies` waits for the body;
`agent` is the whole. Ratios are to `plain`. Run it: make bench, or make bench ARGS="--size 1000000 --model-last"
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import socket
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import aiohttp
import click
import yaml
from rich.console import Console
from rich.table import Table

from bench.bodies import body
from bench.throughput_files import MODELS, ONE_THREAD, PLAIN, PLAIN_BUFSIZE, READS, UPSTREAM, WRK
from spoe_agent.fleet import Fleet, load
from spoe_agent.haproxy.render import BODY_HEADROOM_BYTES, haproxy_files, write
from spoe_agent.rig.haproxy import find_haproxy, version
from spoe_agent.rig.process import Process, RigError, accepts, free_port
from spoe_agent.rig.stack import agent_process

CONNECTIONS = (1, 32, 256)
INSTANCES = 8
BODIES = 8
"""As many are sent in turn."""


@dataclass(frozen=True, slots=True)
class Measured:
    """One arm under one load."""

    arm: str
    connections: int
    requests_per_s: float
    p50_ms: float
    p99_ms: float
    errors: int
    front_ms: float
    """CPU time of HAProxy for each request."""
    agent_ms: float
    """CPU time of the agent for each request."""
    fell_back: float
    """Share of the requests that went on without the agent."""
    front_mb: float
    """Resident memory of HAProxy behind it."""
    agent_mb: float


@click.command()
@click.option("--seconds", default=5, show_default=True, help="Length of each of the nine measurements.")
@click.option("--size", default=0, help="About how many bytes the bodies have.  [default: some 100]")
@click.option("--model-last", is_flag=True, help="Name the model behind all else.")
@click.option("--connections", default=CONNECTIONS, multiple=True, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of a table.")
def main(seconds: int, size: int, model_last: bool, connections: tuple[int, ...], as_json: bool) -> None:
    """Print what the agent costs."""
    if shutil.which("wrk") is None:
        raise click.ClickException("wrk is not installed; for example: apt-get install wrk")
    try:
        bodies = [body(seed, size, is_last=model_last) for seed in range(BODIES)]
        measured = asyncio.run(_run(seconds, bodies, connections))
    except RigError as error:
        raise click.ClickException(str(error)) from error
    if as_json:
        click.echo(json.dumps({"rows": [asdict(row) for row in measured]}))
    else:
        _print(measured, f"bodies of {max(map(len, bodies)):,} bytes, model {'last' if model_last else 'first'}")


async def _run(seconds: int, bodies: list[bytes], connections: tuple[int, ...]) -> list[Measured]:
    with tempfile.TemporaryDirectory(prefix="pointsman-bench-") as name:
        folder = Path(name)
        for number, one in enumerate(bodies, 1):
            (folder / f"body{number}").write_bytes(one)
        (folder / "wrk.lua").write_text(WRK % (len(bodies), folder))
        fleet = _fleet(folder)
        async with _upstream(fleet, folder):
            measured = []
            for arm in ("plain", "reads bodies", "agent"):
                async with _front(arm, fleet, folder) as (front, agent):
                    measured += [
                        await _measure(arm, number, seconds, fleet, folder, front, agent) for number in connections
                    ]
            return measured


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
async def _upstream(fleet: Fleet, folder: Path) -> AsyncIterator[None]:
    binds = "\n".join(f"    bind {instance.host}:{instance.port}" for instance in fleet.instances)
    config = folder / "upstream.cfg"
    config.write_text(UPSTREAM.format(binds=binds, models=MODELS, bufsize=_bufsize(fleet)))
    async with Process("upstream", [find_haproxy(), "-db", "-f", config], folder) as upstream:
        await upstream.ready(lambda: accepts(fleet.instances[0].host, fleet.instances[0].port))
        yield


@asynccontextmanager
async def _front(arm: str, fleet: Fleet, folder: Path) -> AsyncIterator[tuple[Process, Process | None]]:
    """Start HAProxy as the arm wants it, with the agent if the arm has one; end both."""
    config = _config(arm, fleet, folder / arm.replace(" ", "-"))
    (folder / "one-thread.cfg").write_text(ONE_THREAD)
    agent = agent_process(folder / "fleet.yaml", folder)
    if arm == "agent":
        await agent.start()
        await agent.ready(lambda: _exists(folder / "spop.sock"))
    try:
        command: list[str | Path] = [find_haproxy(), "-db", "-f", folder / "one-thread.cfg", "-f", config]
        async with Process("front", command, folder) as front:
            await front.ready(lambda: accepts("127.0.0.1", fleet.listeners.front.port))
            # HAProxy's checks of instances and agent have had their first turn.
            await asyncio.sleep(2)
            yield front, agent if arm == "agent" else None
    finally:
        if arm == "agent":
            await agent.stop()


async def _exists(path: Path) -> bool:
    return path.exists()


def _config(arm: str, fleet: Fleet, folder: Path) -> Path:
    files = haproxy_files(fleet)
    if arm != "agent":
        servers = "\n".join(f"    server {i.name} {i.host}:{i.port}" for i in fleet.instances)
        rules, bufsize = (READS, _bufsize(fleet)) if arm == "reads bodies" else ("", PLAIN_BUFSIZE)
        port = fleet.listeners.front.port
        files["haproxy.cfg"] = PLAIN.format(port=port, servers=servers, rules=rules, bufsize=bufsize)
    files["haproxy.cfg"] = files["haproxy.cfg"].replace("    log stdout format raw local0 info\n", "")
    write(files, folder)
    return folder / "haproxy.cfg"


def _bufsize(fleet: Fleet) -> int:
    return fleet.policies.max_inspected_body + BODY_HEADROOM_BYTES


async def _measure(
    arm: str, connections: int, seconds: int, fleet: Fleet, folder: Path, front: Process, agent: Process | None
) -> Measured:
    url = f"http://127.0.0.1:{fleet.listeners.front.port}/api/chat"
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "-s", str(folder / "wrk.lua"), url]
    pids = front.pid, agent.pid if agent else None
    before, known = [_cpu_s(pid) for pid in pids], await _known(fleet, agent)
    child = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    out, _ = await child.communicate()
    front_s, agent_s = (_cpu_s(pid) - then for pid, then in zip(pids, before, strict=True))
    lines, fell_back = (now - then for now, then in zip(await _known(fleet, agent), known, strict=True))
    said = out.decode()
    requests = max(1, int(_find(r"(\d+) requests in", said)))
    failures = re.search(r"Non-2xx or 3xx responses: (\d+)", said)
    return Measured(
        arm,
        connections,
        float(_find(r"Requests/sec:\s+([\d.]+)", said)),
        _milliseconds(_find(r"50%\s+(\d\S*)", said)),
        _milliseconds(_find(r"99%\s+(\d\S*)", said)),
        int(failures[1]) if failures else 0,
        front_s / requests * 1000,
        agent_s / requests * 1000,
        fell_back / max(1, lines),
        _resident_mb(front.pid),
        _resident_mb(agent.pid) if agent else 0.0,
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


def _resident_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(_find(r"VmRSS:\s+(\d+) kB", status)) / 1024


def _print(measured: list[Measured], bodies: str) -> None:
    plain = {row.connections: row for row in measured if row.arm == "plain"}
    table = Table(title=f"HAProxy {version(find_haproxy())}, one thread, {INSTANCES} instances, {bodies}")
    for column in (
        *("arm", "connections", "requests/s", "of plain", "p50 ms", "added", "p99 ms", "errors"),
        *("fell back", "HAProxy ms", "agent ms", "HAProxy MB", "agent MB"),
    ):
        table.add_column(column, justify="left" if column == "arm" else "right")
    for row in measured:
        base = plain[row.connections]
        table.add_row(
            row.arm,
            str(row.connections),
            f"{row.requests_per_s:,.0f}",
            f"{row.requests_per_s / base.requests_per_s:.2f}",
            f"{row.p50_ms:.3f}",
            f"{row.p50_ms - base.p50_ms:+.3f}",
            f"{row.p99_ms:.3f}",
            str(row.errors),
            f"{row.fell_back:.1%}",
            f"{row.front_ms:.3f}",
            f"{row.agent_ms:.3f}",
            f"{row.front_mb:.0f}",
            f"{row.agent_mb:.0f}",
        )
    Console(width=None if sys.stdout.isatty() else 160).print(table)


if __name__ == "__main__":
    main()
