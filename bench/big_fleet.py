"""A big fleet for measurements: an agent for it, and the other side, which replays fixed answers over loopback HTTP.

The other side is a child process: a port for each Ollama, and under /hN a GPU host with both kinds of telemetry.
Everything that the fleet file may say is left at its default.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from hashlib import sha256
from typing import Any

import click
from aiohttp import web

from spoe_agent.assemble import Parts, assemble
from spoe_agent.fleet import Fleet, loads
from spoe_agent.gpus.board import SourceHealth, SourceState
from spoe_agent.gpus.exporter import DCGM
from spoe_agent.gpus.reading import GpuReading
from spoe_agent.gpus.wire import PATH, encode
from spoe_agent.instances.http import unlimited_session

EXPORTER_SAMPLES_S = 30.0
"""dcgm-exporter's default."""

MODELS = 8
LOADED = 3
"""On each instance."""

INSTALLED_AT = "2026-05-04T14:56:49.277302595-07:00"

CHANGED = "/changed"

START_DEADLINE_S = 30.0


class ReadBy(StrEnum):
    """Who reads the GPUs."""

    POINTSMAN = "pointsman telemetry"
    EXPORTER = "dcgm-exporter"


@dataclass(frozen=True, slots=True)
class Size:
    """How big it is. Each host's GPUs are shared out evenly among as many instances."""

    instances: int = 64
    hosts: int = 32
    gpus_per_host: int = 8
    models: int = MODELS
    """Installed, the same everywhere."""

    @property
    def gpus(self) -> int:
        """GPUs in all."""
        return self.hosts * self.gpus_per_host

    def host(self, instance: int) -> int:
        """Return where an instance is."""
        return instance * self.hosts // self.instances


def model(number: int) -> str:
    """Return a model's name. Eight of them are loaded here or there."""
    return f"model-{number}:latest"


def uuid(host: int, number: int) -> str:
    """Return a GPU's UUID."""
    return f"GPU-{host:08d}-0000-4000-8000-{number:012d}"


def reading(host: int, number: int) -> GpuReading:
    """Return a busy GPU with every field."""
    return GpuReading(
        uuid=uuid(host, number),
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


def exporter_page(host: int, gpus: int) -> bytes:
    """Return a page as dcgm-exporter's: the metrics we know and 20 more. Hosts do not sample at the same time."""
    sample = (time.monotonic() + host) // EXPORTER_SAMPLES_S
    values = {name: 4096.0 + sample if unit > 1 else 1.0 for name, (_, unit) in DCGM.metrics.items()}
    values |= {f"DCGM_FI_PROF_OTHER_{number}": 0.5 for number in range(20)}
    values["DCGM_FI_DEV_XID_ERRORS"] = values["DCGM_FI_DEV_ECC_DBE_VOL_TOTAL"] = 0.0
    values["DCGM_FI_DEV_ROW_REMAP_FAILURE"] = 0.0
    lines = []
    for metric, value in values.items():
        lines += [f"# HELP {metric} Help.", f"# TYPE {metric} gauge"]
        for number in range(gpus):
            labels = f'gpu="{number}",UUID="{uuid(host, number)}",pci_bus_id="0:{number}",device="nvidia{number}"'
            lines.append(f'{metric}{{{labels},modelName="NVIDIA H200",Hostname="host{host}"}} {value}')
    return ("\n".join(lines) + "\n").encode()


def entry(name: str) -> dict[str, Any]:
    """Return a model with the fields that `/api/ps` and `/api/tags` share (api/types.go)."""
    details = {"parent_model": "", "format": "gguf", "family": "llama", "families": ["llama"]}
    details |= {"parameter_size": "8.0B", "quantization_level": "Q4_K_M"}
    return {
        "name": name,
        "model": name,
        "size": 5_000_000_000,
        "digest": sha256(name.encode()).hexdigest(),
        "details": details,
    }


def loaded(name: str) -> dict[str, Any]:
    """Return a model of `/api/ps` that is in use: its `expires_at` is another each time, so no list is as the last."""
    expires_at = (datetime.now(UTC) + timedelta(minutes=5)).isoformat()
    return {**entry(name), "expires_at": expires_at, "size_vram": 5_000_000_000, "context_length": 4096}


def application(gpus_per_host: int, models: int) -> web.Application:
    """Return the other side. Which models an Ollama has loaded follows from its port. Each POST of CHANGED installs one
    more.
    """
    installed: list[bytes] = []

    async def ps(request: web.Request) -> web.Response:
        first = request.url.port or 0
        names = [model((first + number) % MODELS) for number in range(LOADED)]
        return web.json_response({"models": [loaded(name) for name in names]})

    async def changed(_: web.Request) -> web.Response:
        names = map(model, range(models + len(installed)))
        said = {"models": [{**entry(name), "modified_at": INSTALLED_AT} for name in names]}
        installed.append(json.dumps(said, separators=(",", ":")).encode())  # as Go writes it
        return web.Response()

    async def tags(request: web.Request) -> web.Response:
        if not installed:
            await changed(request)
        return web.Response(body=installed[-1], content_type="application/json")

    async def version(_: web.Request) -> web.Response:
        return web.json_response({"version": "0.33.0"})

    async def gpus(request: web.Request) -> web.Response:
        found = [reading(int(request.match_info["host"]), number) for number in range(gpus_per_host)]
        return web.Response(body=encode(found, {"nvidia": SourceState(SourceHealth.UP)}, time.monotonic()))

    async def metrics(request: web.Request) -> web.Response:
        return web.Response(body=exporter_page(int(request.match_info["host"]), gpus_per_host))

    app = web.Application()
    app.add_routes([web.get("/api/ps", ps), web.get("/api/tags", tags), web.get("/api/version", version)])
    app.add_routes([web.post(CHANGED, changed)])
    app.add_routes([web.get(f"/h{{host}}{PATH}", gpus), web.get("/h{host}/metrics", metrics)])
    return app


async def _serve(size: Size) -> None:
    runner = web.AppRunner(application(size.gpus_per_host, size.models), access_log=None)
    await runner.setup()
    for _ in range(size.instances):
        await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(json.dumps([address[1] for address in runner.addresses]), flush=True)
    await asyncio.Event().wait()


@asynccontextmanager
async def other_side(size: Size) -> AsyncIterator[tuple[int, ...]]:
    """Run the other side; give the ports of its Ollamas."""
    arguments = [f"--{name}={getattr(size, name)}" for name in Size.__dataclass_fields__]
    module = ("-m", "bench.big_fleet", *(argument.replace("_", "-") for argument in arguments))
    child = await asyncio.create_subprocess_exec(sys.executable, *module, stdout=subprocess.PIPE)
    try:
        async with asyncio.timeout(START_DEADLINE_S):
            said = await child.stdout.readline() if child.stdout else b""
        yield tuple(json.loads(said))
    finally:
        child.terminate()
        await child.wait()


def fleet(size: Size, ports: Sequence[int], kind: ReadBy) -> Fleet:
    """Return the fleet file's content, with no more in it than who is where."""
    share = size.gpus // size.instances
    instances, sources = [], []
    for number in range(size.instances):
        host, first = size.host(number), number * share % size.gpus_per_host
        gpus = [uuid(host, gpu) for gpu in range(first, first + share)]
        instances.append({"name": f"i{number}", "url": f"http://127.0.0.1:{ports[number]}", "gpus": gpus})
    for host in range(size.hosts):
        there = [f"i{number}" for number in range(size.instances) if size.host(number) == host]
        url = f"http://127.0.0.1:{ports[0]}/h{host}"
        page = {"url": f"{url}/metrics", "exporter": True} if kind is ReadBy.EXPORTER else {"url": url}
        sources.append({**page, "instances": there})
    # JSON is YAML too.
    return loads(
        json.dumps({"defaults": {"num_parallel": 4}, "instances": instances, "telemetry": {"sources": sources}})
    )


@asynccontextmanager
async def assembled(size: Size, ports: Sequence[int], kind: ReadBy) -> AsyncIterator[tuple[Fleet, Parts]]:
    """Put an agent for the fleet together as `pointsman serve` does; nothing runs yet."""
    found = fleet(size, ports, kind)
    async with unlimited_session() as session:
        yield found, await assemble(found, session)


@click.command()
@click.option("--instances", type=int, required=True)
@click.option("--hosts", type=int, required=True)
@click.option("--gpus-per-host", type=int, required=True)
@click.option("--models", type=int, required=True)
def main(instances: int, hosts: int, gpus_per_host: int, models: int) -> None:
    """Be the other side, and print the ports."""
    asyncio.run(_serve(Size(instances, hosts, gpus_per_host, models)))


if __name__ == "__main__":
    main()
