"""What is looked at once, for all checks: each Ollama, this host's GPUs and processes."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from email.utils import parsedate_to_datetime

import aiohttp
import psutil

from spoe_agent.fleet import Fleet, FleetError, Instance
from spoe_agent.gpus.board import GpuBoard
from spoe_agent.gpus.local import local_sources
from spoe_agent.gpus.poll import Source
from spoe_agent.gpus.service import read_once
from spoe_agent.haproxy import program, running
from spoe_agent.instances.http import Remote, TooLong, get, said
from spoe_agent.instances.ollama import FAILURES, OllamaClient
from spoe_agent.instances.processes import at, listening
from spoe_agent.instances.reach import reach
from spoe_agent.keys.operators import headers
from spoe_agent.process.limits import open_files
from spoe_agent.routing.snapshot import LoadedModel
from spoe_agent.surroundings.names import Lookup, canonical_name

_GPU_DEADLINE_S = 5.0


@dataclass(frozen=True, slots=True)
class FoundOllama:
    """One instance as it was found."""

    instance: Instance
    version: str = ""
    """"": it does not answer, as `why` says."""
    why: str = ""
    ahead_s: float | None = None
    """Its clock less ours, in whole seconds."""
    loaded: Mapping[str, LoadedModel] = field(default_factory=dict)
    environment: Mapping[str, str] | None = None
    """What its process was started with; None: elsewhere, or another user's."""
    open_files: int | None = None
    """How many files its process may have open."""


@dataclass(frozen=True, slots=True)
class Seen:
    """All of it."""

    fleet: Fleet
    board: GpuBoard
    """This host's GPUs."""
    ollamas: tuple[FoundOllama, ...] = ()
    has_agent: bool = False
    haproxy: str | None = None
    """HAProxy's program."""
    haproxies: tuple[running.HAProxyProcess, ...] = ()
    """HAProxy's processes that serve here."""
    is_root: bool = False
    """Other users' processes are seen too."""


@dataclass(frozen=True, slots=True)
class Senses:
    """Where each fact comes from."""

    gpus: Callable[[], Sequence[Source]] = local_sources
    lookup: Lookup = canonical_name
    haproxy: Callable[[], str | None] = program.find
    haproxies: Callable[[], Iterable[running.HAProxyProcess]] = running.running
    processes: Callable[[], Iterable[tuple[str, int, psutil.Process]]] = listening
    wall: Callable[[], float] = time.time
    user: Callable[[], int] = os.geteuid


async def see(fleet: Fleet, senses: Senses, *, asks: bool) -> Seen:
    """Look at this host's GPUs; `asks`: ask each Ollama and look at processes too."""
    reads = fleet.telemetry.local and any(one.is_here for one in fleet.instances)
    seen = Seen(fleet, await read_once(senses.gpus() if reads else (), _GPU_DEADLINE_S), haproxy=senses.haproxy())
    if not asks:
        return seen
    timeout_s = fleet.policies.poll.timeout
    async with aiohttp.ClientSession() as session:
        asked = await asyncio.gather(*(_ask(session, one, timeout_s, senses.wall) for one in fleet.instances))
        has_agent = await _agent_answers(session, fleet)
    processes = await asyncio.to_thread(lambda: at(fleet.instances, senses.processes()))
    haproxies = await asyncio.to_thread(lambda: tuple(senses.haproxies()))
    ollamas = tuple(_with_process(one, processes.get(one.instance.name)) for one in asked)
    is_root = senses.user() == 0
    return replace(seen, ollamas=ollamas, has_agent=has_agent, haproxies=haproxies, is_root=is_root)


async def _ask(
    session: aiohttp.ClientSession, one: Instance, timeout_s: float, wall: Callable[[], float]
) -> FoundOllama:
    found = FoundOllama(one)
    try:
        client = OllamaClient(session, reach(one), timeout_s)
        found = replace(found, version=await client.version())
        found = replace(found, ahead_s=await _ahead(session, reach(one), timeout_s, wall))
        return replace(found, loaded=await client.loaded())
    except TimeoutError:
        return found if found.version else replace(found, why=f"{one.url} does not answer within {timeout_s:g} s")
    except FAILURES as error:
        return found if found.version else replace(found, why=f"{one.url}: {said(error)}")
    except FleetError as error:
        return replace(found, why=str(error))


async def _ahead(
    session: aiohttp.ClientSession, remote: Remote, timeout_s: float, wall: Callable[[], float]
) -> float | None:
    async with asyncio.timeout(timeout_s), remote.get(session, "/api/version") as answer:
        try:
            return parsedate_to_datetime(answer.headers.get("Date", "")).timestamp() - wall()
        except ValueError:
            return None


async def _agent_answers(session: aiohttp.ClientSession, fleet: Fleet) -> bool:
    try:
        async with asyncio.timeout(fleet.policies.poll.timeout):
            answer = await get(session, Remote(f"http://{fleet.listeners.admin}", headers()), "/status")
    except (OSError, aiohttp.ClientError, TooLong):
        return False
    return answer.status == 200 and b'"grants"' in answer.body


def _with_process(one: FoundOllama, process: psutil.Process | None) -> FoundOllama:
    if process is None:
        return one
    try:
        return replace(one, environment=process.environ(), open_files=open_files(process))
    except (OSError, psutil.Error):
        return one
