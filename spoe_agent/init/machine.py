"""What this machine has: GPUs, Ollamas that run, programs. Nothing is changed by looking."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from types import ModuleType

import aiohttp
import psutil

from spoe_agent.fleet import Listen
from spoe_agent.fleet.urls import USUAL_PORT
from spoe_agent.gpus.local import local_sources
from spoe_agent.gpus.poll import Source
from spoe_agent.gpus.reading import GpuReading
from spoe_agent.gpus.resolve import bindable
from spoe_agent.gpus.service import read_once
from spoe_agent.haproxy import program as haproxy_program
from spoe_agent.instances import program as ollama_program
from spoe_agent.instances.http import Remote
from spoe_agent.instances.ollama import FAILURES, OllamaClient
from spoe_agent.instances.processes import listening
from spoe_agent.process.taken import refused

_GPU_DEADLINE_S = 10.0
"""A sleeping driver takes seconds to start (no persistence mode)."""

_ASK_S = 3.0

_HERE = ("127.0.0.1", "::1", "0.0.0.0", "::")

_FRONT = "x-pointsman"
"""What answers with this is a front of ours, and no Ollama."""


@dataclass(frozen=True, slots=True)
class Program:
    """A program on the path."""

    path: str
    version: str


@dataclass(frozen=True, slots=True)
class RunningOllama:
    """An Ollama that answers on this host."""

    listen: Listen
    version: str
    models: Mapping[str, int] = field(default_factory=dict)
    """Bytes by canonical key, as `/api/tags` lists them."""
    environment: Mapping[str, str] | None = None
    """What it was started with; None: its process is another user's, or not of this host (a container, a tunnel)."""


@dataclass(frozen=True, slots=True)
class Machine:
    """What was found."""

    gpus: tuple[GpuReading, ...] = ()
    """Those that an Ollama can be bound to: MIG devices instead of the GPU that they are parts of."""
    unread: tuple[str, ...] = ()
    """Why GPUs of a vendor could not be read, a sentence each."""
    ollama: Program | None = None
    haproxy: Program | None = None
    running: tuple[RunningOllama, ...] = ()
    """In order of ports."""
    is_root: bool = False
    """Other users' processes were seen too."""


@dataclass(frozen=True, slots=True)
class Senses:
    """Where each fact comes from."""

    gpus: Callable[[], Sequence[Source]] = local_sources
    ollama: Callable[[], str | None] = ollama_program.find
    haproxy: Callable[[], str | None] = haproxy_program.find
    processes: Callable[[], Iterable[tuple[str, int, psutil.Process]]] = listening
    usual_port: int = USUAL_PORT
    """Looked at too, because other users' processes are not seen."""
    user: Callable[[], int] = os.geteuid
    is_free: Callable[[int], bool] = lambda port: not refused(Listen("127.0.0.1", port))


async def look(senses: Senses) -> Machine:
    """Look at everything once."""
    board = await read_once(senses.gpus(), _GPU_DEADLINE_S)
    return Machine(
        gpus=tuple(bindable(board.readings.values())),
        unread=tuple(f"{name}: {state.why}" for name, state in board.states.items() if state.why),
        ollama=await asyncio.to_thread(_program, ollama_program, senses.ollama()),
        haproxy=await asyncio.to_thread(_program, haproxy_program, senses.haproxy()),
        running=await _running(senses),
        is_root=senses.user() == 0,
    )


def _program(module: ModuleType, path: str | None) -> Program | None:
    if path is None:
        return None
    try:
        return Program(path, module.version(path))
    except (OSError, subprocess.SubprocessError):
        return Program(path, "unknown")


async def _running(senses: Senses) -> tuple[RunningOllama, ...]:
    seen = await asyncio.to_thread(lambda: list(senses.processes()))
    known: dict[Listen, psutil.Process | None] = {Listen("127.0.0.1", senses.usual_port): None}
    known |= {Listen("127.0.0.1" if host in _HERE else host, port): process for host, port, process in seen}
    async with aiohttp.ClientSession() as session:
        found = await asyncio.gather(*(_ask(session, listen, process) for listen, process in known.items()))
    return tuple(sorted((one for one in found if one is not None), key=lambda one: (one.listen.port, one.listen.host)))


async def _ask(session: aiohttp.ClientSession, listen: Listen, process: psutil.Process | None) -> RunningOllama | None:
    """Return the Ollama at an address; None when there is none (an Ollama's runners listen too)."""
    remote = Remote(f"http://{listen}", {"Host": "localhost"})
    client = OllamaClient(session, remote, _ASK_S)
    with suppress(*FAILURES):
        async with asyncio.timeout(_ASK_S), remote.get(session, "/api/version") as answer:
            if _FRONT in answer.headers:
                return None
        version = await client.version()
        models = {key: model.size_bytes for key, model in (await client.installed()).items()}
        return RunningOllama(listen, version, models, _environment(process))
    return None


def _environment(process: psutil.Process | None) -> Mapping[str, str] | None:
    with suppress(OSError, psutil.Error):
        return None if process is None else process.environ()
    return None
