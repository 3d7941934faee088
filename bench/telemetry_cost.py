"""What reading 64 instances and 256 GPUs once a second costs the router's process, in percent of one core.

The other side is a child process of its own that replays fixed answers over loopback HTTP, or (`in process`) nothing
but objects. Arms: all sources without HTTP; 64 Ollamas over HTTP alone; these beside 32 `pointsman telemetry` of 8
GPUs each; and beside 32 dcgm-exporters that sample every 30 s, which is their default. Everything is polled at 1 s;
`--gpu-interval` changes that for the GPUs.
Run it: python -m bench.telemetry_cost

Must not live here: anything that routing uses; this only measures.
"""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass

import aiohttp
import click
import structlog
import uvloop
from aiohttp import web
from rich.console import Console
from rich.table import Table

from spoe_agent.gpus.board import GpuBoard, SourceState, State
from spoe_agent.gpus.exporter import DCGM, ExporterSource
from spoe_agent.gpus.group import group
from spoe_agent.gpus.poll import GpuPoller, Pace
from spoe_agent.gpus.poll import Source as GpuSource
from spoe_agent.gpus.reading import GpuReading
from spoe_agent.gpus.remote import RemoteSource
from spoe_agent.gpus.wire import encode
from spoe_agent.rig.process import free_port
from spoe_agent.routing.snapshot import LoadedModel
from spoe_agent.telemetry.board import Board
from spoe_agent.telemetry.ollama import OllamaClient
from spoe_agent.telemetry.poll import Poller, Source, Timing

INSTANCES = 64
HOSTS = 32
GPUS_PER_HOST = 8
GROUP = HOSTS * GPUS_PER_HOST // INSTANCES
TARGET_PERCENT = 5.0
EXPORTER_SAMPLES_S = 30.0
MODELS = [f"model-{number}:latest" for number in range(3)]


@dataclass(frozen=True, slots=True)
class Cost:
    """One arm. CPU time of this process, over wall time."""

    arm: str
    percent_of_core: float
    instances_read: int
    gpus_read: int
    groups_us: float
    """Putting all instances' groups together once, in microseconds."""


def reading(host: int, number: int) -> GpuReading:
    """Return a busy GPU with every field."""
    return GpuReading(
        uuid=f"GPU-{host:08d}-0000-4000-8000-{number:012d}",
        name="NVIDIA H200",
        index=number,
        pci_bus_id=f"0000:{number:02x}:00.0",
        memory_total_bytes=150754820096,
        memory_used_bytes=14867103744,
        memory_free_bytes=135242776576,
        memory_reserved_bytes=644939776,
        utilisation=0.99,
        temperature_c=49.0,
        power_w=441.75,
        power_limit_w=700.0,
        throttle=frozenset({"sw_power_cap"}),
        ecc_uncorrected=0,
        xid=0,
        processes={718: 9743368192, 761: 5108662272},
        read_at_s=time.monotonic(),
    )


def exporter_page(host: int) -> bytes:
    """Return a page as dcgm-exporter's: the metrics we know and 20 more. Hosts do not sample at the same time."""
    sample = (time.monotonic() + host) // EXPORTER_SAMPLES_S
    values = {name: 4096.0 + sample if unit > 1 else 1.0 for name, (_, unit) in DCGM.metrics.items()}
    values |= {f"DCGM_FI_PROF_OTHER_{number}": 0.5 for number in range(20)}
    lines = []
    for metric, value in values.items():
        lines += [f"# HELP {metric} Help.", f"# TYPE {metric} gauge"]
        for number in range(GPUS_PER_HOST):
            gpu = reading(host, number)
            labels = f'gpu="{number}",UUID="{gpu.uuid}",pci_bus_id="{gpu.pci_bus_id}",device="nvidia{number}"'
            lines.append(f'{metric}{{{labels},modelName="NVIDIA H200",Hostname="host{host}"}} {value}')
    return ("\n".join(lines) + "\n").encode()


class ReplayedGpus:
    """A host's GPUs without I/O."""

    def __init__(self, host: int) -> None:
        self.name = f"host{host}"
        self._readings = tuple(reading(host, number) for number in range(GPUS_PER_HOST))

    async def read(self, now_s: float) -> tuple[GpuReading, ...]:
        """Return the same as ever."""
        return self._readings


class ReplayedOllama:
    """An Ollama's lists without I/O."""

    async def loaded(self) -> dict[str, LoadedModel]:
        """Return what is loaded."""
        return {name: LoadedModel(5_000_000_000, 5_000_000_000, 8192) for name in MODELS}

    async def installed(self) -> dict[str, int]:
        """Return what is installed."""
        return dict.fromkeys(MODELS, 5_000_000_000)

    async def version(self) -> str:
        """Return a version."""
        return "0.33.0"


def application() -> web.Application:
    """The other side: /iN is an Ollama, /hN a GPU host with both kinds of telemetry."""
    models = [{"model": name, "size": 5_000_000_000, "size_vram": 5_000_000_000} for name in MODELS]
    fixed = {"ps": json.dumps({"models": models}), "tags": json.dumps({"models": models}), "version": '{"version":"0"}'}

    async def ollama(request: web.Request) -> web.Response:
        return web.Response(text=fixed[request.match_info["what"]], content_type="application/json")

    async def gpus(request: web.Request) -> web.Response:
        found = [reading(int(request.match_info["host"]), number) for number in range(GPUS_PER_HOST)]
        return web.Response(body=encode(found, {"nvidia": SourceState(State.UP)}, time.monotonic()))

    async def metrics(request: web.Request) -> web.Response:
        return web.Response(body=exporter_page(int(request.match_info["host"])))

    app = web.Application()
    app.add_routes([web.get("/i{instance}/api/{what}", ollama), web.get("/h{host}/gpus", gpus)])
    app.add_routes([web.get("/h{host}/metrics", metrics), web.get("/", lambda _: _ready())])
    return app


async def _ready() -> web.Response:
    return web.Response()


@asynccontextmanager
async def other_side(session: aiohttp.ClientSession) -> AsyncIterator[str]:
    """Run the other side in a process of its own; give its URL."""
    port = free_port()
    child = subprocess.Popen([sys.executable, "-m", __spec__.name if __spec__ else __name__, "--serve", str(port)])
    url = f"http://127.0.0.1:{port}"
    try:
        async with asyncio.timeout(20):
            while not await _answers(session, url):
                await asyncio.sleep(0.05)
        yield url
    finally:
        child.terminate()
        child.wait()


async def _answers(session: aiohttp.ClientSession, url: str) -> bool:
    try:
        async with session.get(url) as response:
            return response.status == 200
    except aiohttp.ClientError:
        return False


async def measure(
    arm: str, ollamas: Sequence[Source], gpus: Sequence[GpuSource], gpu_pace: Pace, seconds: float
) -> Cost:
    """Poll everything for a while; return what it cost after a warm-up of three seconds."""
    board, gpu_board = Board(), GpuBoard(source.name for source in gpus)
    pollers = [Poller(f"i{number}", source, board.publish, Timing()) for number, source in enumerate(ollamas)]
    runs = [poller.run for poller in pollers] + [GpuPoller(source, gpu_board, gpu_pace).run for source in gpus]
    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(run()) for run in runs]
        await asyncio.sleep(3)
        gc.collect()
        gc.freeze()
        cpu_s, wall_s = time.process_time(), time.monotonic()
        await asyncio.sleep(seconds)
        percent = 100 * (time.process_time() - cpu_s) / (time.monotonic() - wall_s)
        for task in running:
            task.cancel()
    states = board.snapshot({}, 0.0).instances
    read = sum(state.loaded_at_s is not None for state in states.values())
    return Cost(arm, percent, read, len(gpu_board.readings), _groups_us(gpu_board))


def _groups_us(board: GpuBoard) -> float:
    uuids = list(board.readings)
    parts = [uuids[first : first + GROUP] for first in range(0, len(uuids), GROUP)]
    begun, now_s = time.perf_counter(), time.monotonic()
    for part in parts:
        group(board.readings, part, now_s, own_bytes=0)
    return 1e6 * (time.perf_counter() - begun)


async def run(seconds: float, pace: Pace) -> list[Cost]:
    """Measure the arms, one after another; `pace` is the GPU sources'."""
    timeout = aiohttp.ClientTimeout(total=None)
    async with aiohttp.ClientSession(timeout=timeout) as session, other_side(session) as url:
        ollamas = [OllamaClient(session, f"{url}/i{number}", 2.0) for number in range(INSTANCES)]
        replayed = [ReplayedGpus(host) for host in range(HOSTS)]
        remotes = [RemoteSource(session, f"{url}/h{host}") for host in range(HOSTS)]
        exporters = [ExporterSource(session, f"{url}/h{host}/metrics") for host in range(HOSTS)]
        return [
            await measure("in process", [ReplayedOllama() for _ in range(INSTANCES)], replayed, pace, seconds),
            await measure("64 Ollamas over HTTP alone", ollamas, [], pace, seconds),
            await measure("64 Ollamas, 32 pointsman telemetry", ollamas, remotes, pace, seconds),
            await measure("64 Ollamas, 32 dcgm-exporter", ollamas, exporters, pace, seconds),
        ]


@click.command()
@click.option("--seconds", type=click.FloatRange(min=1), default=10.0, show_default=True, help="Per arm.")
@click.option("--gpu-interval", type=click.FloatRange(min=0.1), default=1.0, show_default=True, help="Seconds.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@click.option("--serve", type=int, hidden=True, help="Be the other side, on this port.")
def main(seconds: float, gpu_interval: float, as_json: bool, serve: int | None) -> None:
    """Measure what telemetry costs at 64 instances and 256 GPUs."""
    if serve is not None:
        web.run_app(application(), host="127.0.0.1", port=serve, print=None, access_log=None)
        return
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        costs = runner.run(run(seconds, Pace(interval_s=gpu_interval)))
    if as_json:
        click.echo(json.dumps([asdict(cost) for cost in costs], indent=1))
        return
    table = Table("", "CPU", "instances", "GPUs", "all groups", title=f"target: below {TARGET_PERCENT:g} % of a core")
    for cost in costs:
        read = (str(cost.instances_read), str(cost.gpus_read), f"{cost.groups_us:.0f} µs")
        table.add_row(cost.arm, f"{cost.percent_of_core:.2f} %", *read)
    Console().print(table)


if __name__ == "__main__":
    main()
