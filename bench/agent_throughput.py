"""What the agent costs: HAProxy without and with it, in one run on one machine.

Three arms, one after another, each under the same load (wrk) and with the same upstream (a second HAProxy that
answers by itself): `plain` is HAProxy balancing by leastconn; `reads bodies` is the rendered configuration with the
agent's rules taken out; `agent` is the whole. Ratios are to `plain`. Run it: make bench

Must not live here: anything that decides; this only measures.
"""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import socket
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import click
import yaml
from rich.console import Console
from rich.table import Table

from spoe_agent.fleet import Fleet, load
from spoe_agent.fleet.render import haproxy_files, write
from spoe_agent.rig.haproxy import find_haproxy, version
from spoe_agent.rig.process import Process, RigError, accepts, free_port
from spoe_agent.rig.stack import POINTSMAN

CONNECTIONS = (1, 32, 256)
INSTANCES = 8
BODY = json.dumps({"model": "alpha", "messages": [{"role": "user", "content": "hello"}]})
MODELS = json.dumps({"models": [{"model": "alpha:latest", "size": 5_000_000_000, "size_vram": 5_000_000_000}]})

UPSTREAM = """
global
    nbthread 1
defaults
    mode http
    timeout client 60s
frontend ollama
{binds}
    http-request return status 200 content-type application/json string '{models}' if {{ path /api/ps /api/tags }}
    http-request return status 200 content-type application/json string '{{"version":"0"}}' if {{ path /api/version }}
    http-request return status 200 content-type application/json string '{{"done":true}}'
"""

PLAIN = """
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
frontend plain
    bind 127.0.0.1:{port}
    default_backend ollama
backend ollama
    balance leastconn
{servers}
"""

ONE_THREAD = "global\n    nbthread 1\n"


@dataclass(frozen=True, slots=True)
class Measured:
    """One arm under one load."""

    arm: str
    connections: int
    requests_per_s: float
    p50_ms: float
    p99_ms: float
    errors: int


@click.command()
@click.option("--seconds", default=5, show_default=True, help="Length of each of the nine measurements.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of a table.")
def main(seconds: int, as_json: bool) -> None:
    """Print what the agent costs."""
    if shutil.which("wrk") is None:
        raise click.ClickException("wrk is not installed; for example: apt-get install wrk")
    try:
        measured, memory_mb = asyncio.run(_run(seconds))
    except RigError as error:
        raise click.ClickException(str(error)) from error
    if as_json:
        click.echo(json.dumps({"rows": [asdict(row) for row in measured], "agent_rss_mb": memory_mb}))
    else:
        _print(measured, memory_mb)


async def _run(seconds: int) -> tuple[list[Measured], float]:
    with tempfile.TemporaryDirectory(prefix="pointsman-bench-") as name:
        folder = Path(name)
        (folder / "wrk.lua").write_text(
            f"wrk.method='POST'\nwrk.body='{BODY}'\nwrk.headers['Content-Type']='application/json'\n"
        )
        fleet = _fleet(folder)
        async with _upstream(fleet, folder):
            measured = []
            memory_mb = 0.0
            for arm in ("plain", "reads bodies", "agent"):
                async with _front(arm, fleet, folder) as agent:
                    for connections in CONNECTIONS:
                        measured.append(await _measure(arm, connections, seconds, fleet, folder))
                    memory_mb = _resident_mb(agent.pid) if agent else memory_mb
            return measured, memory_mb


def _fleet(folder: Path) -> Fleet:
    path = folder / "fleet.yaml"
    listeners = {
        "front": f"127.0.0.1:{free_port()}",
        "spop": f"unix@{folder}/spop.sock",
        "log": f"127.0.0.1:{free_port(socket.SOCK_DGRAM)}",
    }
    instances = [{"name": f"gpu{n}", "url": f"http://127.0.0.1:{free_port()}"} for n in range(INSTANCES)]
    defaults = {"num_parallel": 64, "max_connections": 1024}
    path.write_text(yaml.safe_dump({"listeners": listeners, "defaults": defaults, "instances": instances}))
    return load(path)


@asynccontextmanager
async def _upstream(fleet: Fleet, folder: Path) -> AsyncIterator[None]:
    binds = "\n".join(f"    bind {instance.host}:{instance.port}" for instance in fleet.instances)
    config = folder / "upstream.cfg"
    config.write_text(UPSTREAM.format(binds=binds, models=MODELS))
    async with Process("upstream", [find_haproxy(), "-db", "-f", config], folder) as upstream:
        await upstream.ready(lambda: accepts(fleet.instances[0].host, fleet.instances[0].port))
        yield


@asynccontextmanager
async def _front(arm: str, fleet: Fleet, folder: Path) -> AsyncIterator[Process | None]:
    """Start HAProxy as the arm wants it, with the agent if the arm has one; end both."""
    config = _config(arm, fleet, folder / arm.replace(" ", "-"))
    (folder / "one-thread.cfg").write_text(ONE_THREAD)
    agent = Process("agent", [*POINTSMAN, "serve", "--fleet", folder / "fleet.yaml"], folder)
    if arm == "agent":
        await agent.start()
        await agent.ready(lambda: _exists(folder / "spop.sock"))
    try:
        command: list[str | Path] = [find_haproxy(), "-db", "-f", folder / "one-thread.cfg", "-f", config]
        async with Process("front", command, folder) as front:
            await front.ready(lambda: accepts("127.0.0.1", fleet.listeners.front.port))
            # HAProxy's checks of instances and agent have had their first turn.
            await asyncio.sleep(2)
            yield agent if arm == "agent" else None
    finally:
        if arm == "agent":
            await agent.stop()


async def _exists(path: Path) -> bool:
    return path.exists()


def _config(arm: str, fleet: Fleet, folder: Path) -> Path:
    files = haproxy_files(fleet)
    if arm == "plain":
        servers = "\n".join(f"    server {i.name} {i.host}:{i.port}" for i in fleet.instances)
        files["haproxy.cfg"] = PLAIN.format(port=fleet.listeners.front.port, servers=servers)
    elif arm == "reads bodies":
        lines = files["haproxy.cfg"].splitlines(keepends=True)
        files["haproxy.cfg"] = "".join(line for line in lines if "spoe" not in line or line.lstrip().startswith("#"))
    files["haproxy.cfg"] = files["haproxy.cfg"].replace("    log stdout format raw local0 info\n", "")
    write(files, folder)
    return folder / "haproxy.cfg"


async def _measure(arm: str, connections: int, seconds: int, fleet: Fleet, folder: Path) -> Measured:
    url = f"http://127.0.0.1:{fleet.listeners.front.port}/api/chat"
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "-s", str(folder / "wrk.lua"), url]
    child = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    out, _ = await child.communicate()
    said = out.decode()
    failures = re.search(r"Non-2xx or 3xx responses: (\d+)", said)
    return Measured(
        arm,
        connections,
        float(_find(r"Requests/sec:\s+([\d.]+)", said)),
        _milliseconds(_find(r"50%\s+(\S+)", said)),
        _milliseconds(_find(r"99%\s+(\S+)", said)),
        int(failures[1]) if failures else 0,
    )


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


def _print(measured: list[Measured], memory_mb: float) -> None:
    plain = {row.connections: row for row in measured if row.arm == "plain"}
    table = Table(title=f"HAProxy {version(find_haproxy())}, one thread, {INSTANCES} instances")
    for column in ("arm", "connections", "requests/s", "of plain", "p50 ms", "added", "p99 ms", "added", "errors"):
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
            f"{row.p99_ms - base.p99_ms:+.3f}",
            str(row.errors),
        )
    Console(width=None if sys.stdout.isatty() else 120).print(table)
    click.echo(f"agent: {memory_mb:.1f} MB resident")


if __name__ == "__main__":
    main()
