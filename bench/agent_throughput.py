"""What the agent costs: HAProxy without and with it, in one run on one machine.

Three arms beside each other, each under the same load (wrk) in turn, with the same upstream (`throughput_upstream`):
`alone` is HAProxy balancing by leastconn; `reads bodies` waits for the body; `agent` is the whole. Ratios are of
neighbours in time, and medians of the rounds. Run it: make bench, or make bench ARGS="--size 1MB --connections 32"
"""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict
from itertools import product
from pathlib import Path
from statistics import median

import click
import yaml
from rich.console import Console
from rich.table import Table

from bench.throughput_files import ONE_THREAD, PLAIN, PLAIN_BUFSIZE, READS, WRK
from bench.throughput_load import MIXED, PLACES, SIZES, Front, Load, Measured, measured
from bench.throughput_upstream import AT_ONCE, MODES
from spoe_agent.fleet import Fleet, load
from spoe_agent.haproxy.program import ENVIRONMENT
from spoe_agent.haproxy.render import BODY_HEADROOM_BYTES, haproxy_files, write
from spoe_agent.rig.haproxy import find_haproxy, version
from spoe_agent.rig.process import Process, RigError, accepts, free_port
from spoe_agent.rig.stack import agent_process

CONNECTIONS = (1, 32, 256)
INSTANCES = 8
ARMS = ALONE, READS_BODIES, AGENT = "alone", "reads bodies", "agent"


@click.command()
@click.option("--seconds", default=5, show_default=True, help="Length of each measurement.")
@click.option(
    "--size", "sizes", multiple=True, type=click.Choice([*SIZES, MIXED]), help="Of bodies.  [default: all five]"
)
@click.option("--model", "places", multiple=True, type=click.Choice(PLACES), help="[default: both]")
@click.option("--connections", default=CONNECTIONS, multiple=True, show_default=True)
@click.option("--answers", default=AT_ONCE, type=click.Choice(MODES), show_default=True)
@click.option("--rounds", default=1, show_default=True, help="Figures are the medians of so many.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of a table.")
def main(
    seconds: int,
    sizes: tuple[str, ...],
    places: tuple[str, ...],
    connections: tuple[int, ...],
    answers: str,
    rounds: int,
    as_json: bool,
) -> None:
    """Print what the agent costs."""
    if shutil.which("wrk") is None:
        raise click.ClickException("wrk is not installed; for example: apt-get install wrk")
    loads = [Load(*one) for one in product(sizes or SIZES, places or PLACES, connections)]
    try:
        rows = asyncio.run(_run(seconds, loads, answers, rounds))
    except RigError as error:
        raise click.ClickException(str(error)) from error
    if as_json:
        click.echo(json.dumps({"rows": [asdict(row) for row in rows]}))
    else:
        _print(rows, answers)


async def _run(seconds: int, loads: Sequence[Load], answers: str, rounds: int) -> list[Measured]:
    with tempfile.TemporaryDirectory(prefix="pointsman-bench-") as name:
        folder = Path(name)
        (folder / "wrk.lua").write_text(WRK)
        (folder / "one-thread.cfg").write_text(ONE_THREAD)
        fleet = _fleet(folder)
        async with AsyncExitStack() as running:
            await running.enter_async_context(_upstream(fleet, folder, answers))
            fronts = [await running.enter_async_context(_front(arm, fleet, folder)) for arm in ARMS]
            # HAProxy's checks of instances and agent have their first turn.
            await asyncio.sleep(2)
            return [
                await measured(front, one, seconds, folder, fleet)
                for one in loads
                for _ in range(rounds)
                for front in fronts
            ]


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


def _config(arm: str, fleet: Fleet, port: int, folder: Path) -> Path:
    files = haproxy_files(fleet)
    if arm != AGENT:
        servers = "\n".join(f"    server {i.name} {i.host}:{i.port}" for i in fleet.instances)
        large = fleet.policies.max_inspected_body + BODY_HEADROOM_BYTES
        rules, bufsize = (READS, large) if arm == READS_BODIES else ("", PLAIN_BUFSIZE)
        files["haproxy.cfg"] = PLAIN.format(port=port, servers=servers, rules=rules, bufsize=bufsize)
    files["haproxy.cfg"] = files["haproxy.cfg"].replace("    log stdout format raw local0 info\n", "")
    write(files, folder)
    return folder / "haproxy.cfg"


def _print(rows: Sequence[Measured], answers: str) -> None:
    title = f"HAProxy {version(find_haproxy())}, one thread, {INSTANCES} instances, answers {answers}; CPU s per 1,000"
    table = Table(title=title)
    for column in (
        *("body", "model", "clients", "arm", "requests/s", "of alone", "of reading", "p50 ms", "added", "p99 ms"),
        *("errors", "fell back", "HAProxy s", "agent s", "HAProxy MB", "agent MB"),
    ):
        table.add_column(column, justify="left" if column in ("body", "model", "arm") else "right", no_wrap=True)
    for load_ in dict.fromkeys((row.size, row.place, row.connections) for row in rows):
        same = [row for row in rows if (row.size, row.place, row.connections) == load_]
        rounds = {arm: [row for row in same if row.arm == arm] for arm in ARMS}
        for arm in ARMS:
            table.add_row(load_[0], load_[1], str(load_[2]), arm, *_figures(arm, rounds), end_section=arm == AGENT)
    Console(width=None if sys.stdout.isatty() else 180).print(table)


def _figures(arm: str, rounds: dict[str, list[Measured]]) -> list[str]:
    own = rounds[arm]
    beside = [(row, *others) for row, *others in zip(own, rounds[ALONE], rounds[READS_BODIES], strict=True)]
    return [
        _median(",.0f", (row.requests_per_s for row in own)),
        _median(".2f", (row.requests_per_s / alone.requests_per_s for row, alone, _ in beside)),
        _median(".2f", (row.requests_per_s / reading.requests_per_s for row, _, reading in beside)),
        _median(".3f", (row.p50_ms for row in own)),
        _median("+.3f", (row.p50_ms - alone.p50_ms for row, alone, _ in beside)),
        _median(".3f", (row.p99_ms for row in own)),
        str(sum(row.errors for row in own)),
        f"{sum(row.fell_back for row in own) / len(own):.1%}",
        _median(".3f", (row.haproxy_s for row in own)),
        _median(".3f", (row.agent_s for row in own)),
        _median(".0f", (row.haproxy_mb for row in own)),
        _median(".0f", (row.agent_mb for row in own)),
    ]


def _median(form: str, values: Iterable[float]) -> str:
    return format(median(values), form)


if __name__ == "__main__":
    main()
