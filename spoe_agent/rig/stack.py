"""The whole stack on free ports: simulated Ollamas (or the user's own), the agent, HAProxy."""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Self

from spoe_agent.fleet import Fleet, load
from spoe_agent.fleet.document import read
from spoe_agent.rig.haproxy import front_is_ready, haproxy
from spoe_agent.rig.process import Process, accepts, accepts_unix, free_port, free_ports

CONTEXT_LENGTH = 4096
"""Of the simulated instances: its own default."""

POINTSMAN = (sys.executable, "-m", "spoe_agent")


def agent_process(fleet_file: Path, folder: Path) -> Process:
    """Return the agent, not started."""
    return Process("agent", [*POINTSMAN, "serve", "--fleet", fleet_file], folder)


@dataclass(frozen=True, slots=True)
class Simulated:
    """What the simulated instances are like, all alike but for their stores."""

    instances: int = 4
    models: Sequence[tuple[str, str]] = ()
    """Name and size of each; empty: the simulator's own catalogue."""
    vram: str = "48GiB"
    num_parallel: int = 4
    max_loaded_models: int = 3
    time_scale: float = 20.0
    keep_alive: str = "24h"
    """Long: Ollama's five minutes would be over in seconds of the agent's time."""
    stores: Sequence[tuple[str, Sequence[tuple[str, str]]]] = ()
    """For each instance its store and the models in it; the same name is the same store. Empty: one in memory each."""


@dataclass(slots=True)
class Stack:
    """Starts everything on entering, ends everything on leaving."""

    folder: Path
    binary: str
    """HAProxy's."""
    simulated: Simulated = field(default_factory=Simulated)
    settings: dict[str, Any] = field(default_factory=dict)
    """Further top-level keys of the fleet file (models, policies); of `listeners`, those that are to be others."""
    own: Path | None = None
    """A fleet file of the user's own Ollamas: then nothing is simulated."""
    with_agent: bool = True
    ollamas: list[Process] = field(default_factory=list)
    fleet: Fleet = field(init=False)
    agent: Process = field(init=False)
    haproxy: Process = field(init=False)
    _exit: AsyncExitStack = field(default_factory=AsyncExitStack)

    @property
    def url(self) -> str:
        """Where clients connect."""
        return f"http://127.0.0.1:{self.fleet.listeners.front.port}{self.fleet.listeners.prefix}"

    @property
    def fleet_file(self) -> Path:
        """The fleet file in use."""
        return self.folder / "fleet.yaml"

    async def __aenter__(self) -> Self:
        try:
            await self._start()
        except BaseException:
            await self._exit.aclose()
            raise
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._exit.aclose()

    async def _start(self) -> None:
        # JSON is YAML in which every text is quoted: PyYAML leaves "1e5" bare, which fleet files read as a number.
        self.fleet_file.write_text(json.dumps(self._fleet_document(), ensure_ascii=False, indent=1), encoding="utf-8")
        self.fleet = load(self.fleet_file)
        if self.own is None:
            await self._start_simulated()
        await self._start_front()

    async def _start_front(self) -> None:
        self.agent = agent_process(self.fleet_file, self.folder)
        if self.with_agent:
            await self._started(self.agent, self.agent_is_ready)
        self.haproxy = await self._started(haproxy(self.binary, self.fleet, self.folder), self._front_is_ready)

    async def _started(self, process: Process, is_ready: Callable[[], Awaitable[bool]]) -> Process:
        """Start a process that is ended with the rest, and return it when it is ready."""
        await self._exit.enter_async_context(process)
        await process.ready(is_ready)
        return process

    async def _front_is_ready(self) -> bool:
        return await front_is_ready(self.fleet)

    async def agent_is_ready(self) -> bool:
        """Tell whether the agent listens, at its last port too: it opens the admin port after the others."""
        listen, last = self.fleet.listeners.spop[0], self.fleet.listeners.admin
        listens = await (accepts_unix(listen.path) if listen.path else accepts("127.0.0.1", listen.port))
        return listens and await accepts("127.0.0.1", last.port)

    def _fleet_document(self) -> dict[str, Any]:
        listeners = {
            "front": f"127.0.0.1:{free_port()}",
            "spop": f"127.0.0.1:{free_port()}",
            "log": f"127.0.0.1:{free_port(socket.SOCK_DGRAM)}",
            "check": f"127.0.0.1:{free_port()}",
            "admin": f"127.0.0.1:{free_port()}",
            "door": f"127.0.0.1:{free_port()}",
            "again": f"127.0.0.1:{free_port()}",
            "peers": f"127.0.0.1:{free_port()}",
        }
        if self.own is not None:
            # Not by PyYAML's own rules, to which an unquoted PCI bus id is a number.
            data = read(self.own.read_text(encoding="utf-8-sig"), str(self.own)).data
            onward = f"127.0.0.1:{free_ports(len(data['instances']))}"
            # Nor where the user's own HAProxy looks.
            return {**data, "listeners": {**listeners, "onward": onward}, "haproxy": {}}
        like = self.simulated
        ollama = {"max_loaded_models": like.max_loaded_models, "context_length": CONTEXT_LENGTH}
        instances = [{"name": f"gpu{n}", "url": f"http://127.0.0.1:{free_port()}"} for n in range(like.instances)]
        for instance, (store, _) in zip(instances, like.stores, strict=False):
            instance["store"] = store
        defaults = {"vram": like.vram, "num_parallel": like.num_parallel, "ollama": ollama}
        listeners |= self.settings.get("listeners", {})
        return {"defaults": defaults, "instances": instances, **self.settings, "listeners": listeners}

    async def _start_simulated(self) -> None:
        for number, instance in enumerate(self.fleet.instances):
            command = self._simulate_command(number, instance.host, instance.port)
            process = Process(instance.name, command, self.folder)
            self.ollamas.append(await self._exit.enter_async_context(process))
        for instance, process in zip(self.fleet.instances, self.ollamas, strict=True):
            await process.ready(partial(accepts, instance.host, instance.port))

    def _simulate_command(self, number: int, host: str, port: int) -> list[str]:
        like = self.simulated
        store, models = like.stores[number] if like.stores else ("", like.models)
        command = [*POINTSMAN, "simulate", "--listen", f"{host}:{port}", "--vram", like.vram]
        command += ["--num-parallel", str(like.num_parallel), "--max-loaded-models", str(like.max_loaded_models)]
        command += ["--time-scale", str(like.time_scale), "--keep-alive", like.keep_alive]
        command += ["--store", str(self.folder / "stores" / store)] if store else []
        for name, size in models:
            command += ["--models", f"{name}={size}"]
        return command
