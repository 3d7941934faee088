"""In production as the README says it: the wheel, Debian's own HAProxy configuration with its chroot, separate stores.

What an operator does in a year happens to it within a minute of traffic, and no request fails.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio
import yaml

from spoe_agent.rig.haproxy import find_haproxy
from spoe_agent.rig.process import Process, accepts, free_port
from tests.e2e.conftest import chat, until
from tests.installed.conftest import Installed

DEBIAN = Path("/etc/haproxy/haproxy.cfg")
pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.skipif(os.geteuid() != 0, reason="a chroot takes root"),
    pytest.mark.skipif(not DEBIAN.exists() or "chroot" not in DEBIAN.read_text(), reason="no HAProxy of Debian's here"),
]

REQUESTS = 2000
CLIENTS = 8
STORES = {
    "gpu0": ["llama:8b", "mistral:7b", "qwen:7b"],
    "gpu1": ["llama:8b", "gemma:9b", "phi:4b"],
    "gpu2": ["mistral:7b", "gemma:9b", "qwen:7b"],
    "gpu3": ["phi:4b", "llama:8b", "gemma:9b"],
}
ROUTED = {"loaded", "loading", "room", "evict"}
LISTENERS = {
    **dict.fromkeys(("front", "spop", "check", "admin", "door", "again"), socket.SOCK_STREAM),
    "log": socket.SOCK_DGRAM,
}
LATER = {"gpu4": ["codellama:7b", "mistral:7b"]}


@dataclass
class Machine:
    """One host: instances with stores of their own, the agent, and Debian's HAProxy with Pointsman's file added."""

    package: Installed
    folder: Path
    stores: dict[str, list[str]]
    listeners: dict[str, str] = field(
        default_factory=lambda: {key: f"127.0.0.1:{free_port(kind)}" for key, kind in LISTENERS.items()}
    )
    ports: dict[str, int] = field(default_factory=dict)
    agent: Process = field(init=False)
    haproxy: Process = field(init=False)
    exit: AsyncExitStack = field(default_factory=AsyncExitStack)

    @property
    def pointsman(self) -> Path:
        return self.package.bin / "pointsman"

    @property
    def fleet_file(self) -> Path:
        return self.folder / "fleet.yaml"

    def write_fleet(self) -> None:
        """The file as an operator has it."""
        run, files = self.folder / "run", self.folder / "haproxy"
        configs = f"-f {self.folder / 'debian.cfg'} -f {files / 'haproxy.cfg'}"
        document = {
            "listeners": self.listeners,
            "haproxy": {
                "files": str(files),
                "runtime": str(run / "admin.sock"),
                "test": f"{find_haproxy()} -c -q {configs}",
                "reload": f"kill -USR2 $(head -n 1 {run / 'haproxy.pid'})",
            },
            "defaults": {"num_parallel": 4, "vram": "48GiB", "ollama": {"context_length": 4096}},
            "instances": [
                {"name": name, "url": f"http://127.0.0.1:{self.ports[name]}", "store": name} for name in self.stores
            ],
        }
        self.fleet_file.write_text(yaml.safe_dump(document, sort_keys=False))

    async def start_instances(self, stores: dict[str, list[str]]) -> None:
        for name, models in stores.items():
            self.ports[name] = free_port()
            listed = [part for model in models for part in ("--models", f"{model}=5GB")]
            how = ("--vram", "48GiB", "--num-parallel", "4", "--time-scale", "50", *listed)
            command = [self.pointsman, "simulate", "--listen", f"127.0.0.1:{self.ports[name]}", *how]
            await self.exit.enter_async_context(Process(name, command, self.folder))
        for name in stores:
            await until(lambda port=self.ports[name]: accepts("127.0.0.1", port), 20, f"{name} listens")

    async def start(self) -> None:
        """The README's steps: check, serve, render; then HAProxy with both files."""
        await self.start_instances(self.stores)
        (self.folder / "run").mkdir()
        (self.folder / "debian.cfg").write_text(DEBIAN.read_text().replace("/run/haproxy/", f"{self.folder / 'run'}/"))
        self.write_fleet()
        run = self.folder / "run"
        await self.run("check")
        await self.run("render", "haproxy", "--out", self.folder / "haproxy")
        serve = [self.pointsman, "serve", "--fleet", self.fleet_file, "--state", self.folder / "state.json"]
        self.agent = await self.exit.enter_async_context(Process("agent", serve, self.folder))
        configs = ("-f", self.folder / "debian.cfg", "-f", self.folder / "haproxy" / "haproxy.cfg")
        command = [find_haproxy(), "-Ws", *configs, "-p", run / "haproxy.pid", "-S", run / "master.sock"]
        self.haproxy = await self.exit.enter_async_context(Process("haproxy", command, self.folder))
        await until(self.is_up, 20, "HAProxy listens, and asks the agent")

    async def is_up(self) -> bool:
        """The agent answers its questions: before that all is fallback."""
        status, reason = await self.ask(self.stores["gpu0"][0])
        return status == 200 and reason in ROUTED

    async def run(self, *arguments: str | Path) -> None:
        command = [self.pointsman, *arguments, "--fleet", self.fleet_file]
        process = Process(f"pointsman-{arguments[0]}", command, self.folder)
        await process.start()
        assert await process.wait() == 0, process.tail()

    async def ask(self, model: str) -> tuple[int, str]:
        """Ask for a few tokens; return the status, 0 for a connection that broke, and the reason."""
        body = chat(model, stream=False, options={"num_predict": 3})
        try:
            async with (
                aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as session,
                session.post(f"http://{self.listeners['front']}/api/chat", json=body) as answer,
            ):
                text = await answer.text()
                return answer.status, answer.headers.get("x-pointsman", text).partition(" ")[2]
        except (aiohttp.ClientError, OSError) as error:
            return 0, repr(error)


@pytest_asyncio.fixture
async def machine(from_wheel: Installed, tmp_path: Path) -> AsyncIterator[Machine]:
    built = Machine(from_wheel, tmp_path, dict(STORES))
    built.listeners |= {key: f"127.0.0.1:{free_port(kind)}" for key, kind in LISTENERS.items()}
    async with built.exit:
        await built.start()
        yield built


@dataclass
class Traffic:
    """Clients that ask one after another, until the operator is done and all requests are."""

    machine: Machine
    models: list[str]
    begun: int = 0
    is_over: bool = False
    latest: str = ""
    """The reason of the answer that came last."""
    failed: list[tuple[int, str, str, int]] = field(default_factory=list)

    async def client(self, seed: int) -> None:
        draw = random.Random(seed)
        while self.begun < REQUESTS or not self.is_over:
            self.begun += 1
            number, model = self.begun, draw.choice(self.models)
            status, reason = await self.machine.ask(model)
            self.latest = reason
            if status != 200:
                self.failed.append((number, model, reason, status))

    async def goes_on(self) -> None:
        """Wait until the agent is asked again, and some more requests have come through."""

        async def is_routed() -> bool:
            return self.latest in ROUTED

        await until(is_routed, 60, "the agent decides again")
        wanted = self.begun + REQUESTS // 10

        async def is_there() -> bool:
            return self.begun >= wanted

        await until(is_there, 60, "requests come through")


async def test_nothing_is_lost_in_a_year_of_operation(machine: Machine) -> None:
    traffic = Traffic(machine, sorted({model for models in STORES.values() for model in models}))
    async with asyncio.TaskGroup() as group:
        for seed in range(CLIENTS):
            group.create_task(traffic.client(seed))
        for step in (restart, kill, reload_haproxy, add_an_instance, remove_an_instance):
            await traffic.goes_on()
            await step(machine)
        traffic.models += LATER["gpu4"]
        await traffic.goes_on()
        traffic.is_over = True
    assert (traffic.failed, traffic.begun >= REQUESTS) == ([], True)


async def restart(machine: Machine) -> None:
    """As `systemctl restart pointsman` does it: stop, then start."""
    await machine.agent.stop()
    await machine.agent.start()


async def kill(machine: Machine) -> None:
    machine.agent.signal(signal.SIGKILL)
    await machine.agent.wait()
    await machine.agent.start()


async def reload_haproxy(machine: Machine) -> None:
    machine.haproxy.signal(signal.SIGUSR2)


async def add_an_instance(machine: Machine) -> None:
    await machine.start_instances(LATER)
    machine.stores |= LATER
    machine.write_fleet()
    await machine.run("apply")


async def remove_an_instance(machine: Machine) -> None:
    del machine.stores["gpu3"]
    machine.write_fleet()
    await machine.run("apply")
