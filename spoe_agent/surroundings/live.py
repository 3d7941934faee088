"""Whether all that a fleet file names is there and does its part: each Ollama, each port, HAProxy."""

from __future__ import annotations

import asyncio
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import aiohttp

from spoe_agent.fleet import Fleet, FleetError, Instance
from spoe_agent.haproxy import program
from spoe_agent.haproxy.render import haproxy_files, write
from spoe_agent.instances.http import Remote, TooLong, get, said
from spoe_agent.instances.ollama import FAILURES, OllamaClient
from spoe_agent.instances.reach import reach
from spoe_agent.process.fronts import fronts
from spoe_agent.process.listening import Place, places
from spoe_agent.process.taken import taken

FRONTS = ("haproxy", "mitmdump", "mitmproxy", "mitmweb")


class Level(StrEnum):
    """What a remark asks for."""

    OK = "ok"
    NOTE = "note"
    WRONG = "wrong"


@dataclass(frozen=True, slots=True)
class Remark:
    """One line of what was found."""

    level: Level
    text: str


async def look(fleet: Fleet) -> list[Remark]:
    """Ask everybody, and return a remark on each."""
    timeout_s = fleet.policies.poll.timeout
    async with aiohttp.ClientSession() as session:
        found = await asyncio.gather(*(_instance(session, one, timeout_s) for one in fleet.instances))
        has_agent = await _agent_answers(session, fleet)
    return [*found, *_ports(fleet, has_agent), *await asyncio.to_thread(lambda: list(_haproxy(fleet)))]


async def _instance(session: aiohttp.ClientSession, one: Instance, timeout_s: float) -> Remark:
    try:
        version = await OllamaClient(session, reach(one), timeout_s).version()
    except TimeoutError:
        return Remark(Level.WRONG, f"{one.name}: {one.url} does not answer within {timeout_s:g} s")
    except FAILURES as error:
        return Remark(Level.WRONG, f"{one.name}: {one.url}: {said(error)}")
    except FleetError as error:
        return Remark(Level.WRONG, f"{one.name}: {error}")
    return Remark(Level.OK, f"{one.name}: Ollama {version} answers at {one.url}")


async def _agent_answers(session: aiohttp.ClientSession, fleet: Fleet) -> bool:
    try:
        async with asyncio.timeout(fleet.policies.poll.timeout):
            answer = await get(session, Remote(f"http://{fleet.listeners.admin}"), "/status")
    except (OSError, aiohttp.ClientError, TooLong):
        return False
    return answer.status == 200 and b'"grants"' in answer.body


def _ports(fleet: Fleet, has_agent: bool) -> Iterator[Remark]:
    for place in places(fleet.listeners):
        who = taken(place.listen, place.kind)
        if not has_agent:
            yield _unless(who, place, "free: no agent runs")
        elif who:
            yield Remark(Level.OK, f"{place}: the agent listens")
        else:
            why = "the agent that runs does not listen here: it was started with other listeners"
            yield Remark(Level.WRONG, f"{place}: {why}")
    for place in fronts(fleet):
        who = taken(place.listen, place.kind)
        # Only HAProxy sends requests on to itself.
        is_ours = any(name in who for name in (FRONTS if place.key == "front" else FRONTS[:1]))
        yield (Remark(Level.OK, f"{place} is {who}") if is_ours else _unless(who, place, "free: HAProxy does not run"))


def _unless(who: str, place: Place, free: str) -> Remark:
    return Remark(Level.WRONG, f"{place} is {who}") if who else Remark(Level.NOTE, f"{place} is {free}")


def _haproxy(fleet: Fleet) -> Iterator[Remark]:
    binary = program.find()
    if binary is None:
        yield Remark(Level.NOTE, "HAProxy is not on this host's path: the rendered files could not be tried")
        return
    try:
        version = program.version(binary)
        unfit = program.unfit(version)
        yield Remark(Level.WRONG if unfit else Level.OK, f"HAProxy {version} at {binary} {unfit}".rstrip())
        with tempfile.TemporaryDirectory(prefix="pointsman-check-") as folder:
            write(haproxy_files(fleet), Path(folder))
            refusal = program.refusal(binary, Path(folder) / "haproxy.cfg")
    except (OSError, subprocess.SubprocessError) as error:
        yield Remark(Level.WRONG, f"HAProxy at {binary} cannot be run: {error}")
        return
    if refusal:
        yield Remark(Level.WRONG, f"HAProxy refuses the rendered files: {refusal}")
    else:
        yield Remark(Level.OK, "HAProxy takes the rendered files")
