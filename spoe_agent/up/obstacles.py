"""What is in the way of running a fleet here, found before anything starts: a sentence each, with what to do."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from spoe_agent.fleet import Fleet, Instance, Listen
from spoe_agent.gpus.reading import GpuReading
from spoe_agent.gpus.resolve import UnknownGpu, resolve
from spoe_agent.haproxy import program as haproxy
from spoe_agent.haproxy.render import write
from spoe_agent.instances import program as ollama
from spoe_agent.instances.store import store_folder
from spoe_agent.keys.operators import Operators, headers
from spoe_agent.mitmproxy import program as mitmproxy
from spoe_agent.process.fronts import fronts
from spoe_agent.process.listening import ListenerAddress, addresses
from spoe_agent.process.taken import taken
from spoe_agent.up.members import CONFIGS

FRONTS = {"haproxy": haproxy.find, "mitmproxy": mitmproxy.find}
"""By name: finds the program."""

MISSING = {
    "haproxy": "HAProxy is not on the path: install it (apt-get install haproxy), or take --front mitmproxy",
    "mitmproxy": "mitmdump is not on the path: pip install '.[mitmproxy]' in a checkout of Pointsman",
    "ollama": "ollama is not on the path: install it (https://ollama.com/download), or take --simulate",
}


def of_key(fleet: Fleet) -> Iterator[str]:
    """Yield why the agent will tell `up` nothing, which has to ask it how the instances are."""
    lack = Operators(lambda: fleet).lack(headers())
    if lack:
        yield f"{lack}; `pointsman key add NAME --manage` makes one"


def of_front(front: str, binary: str | None) -> Iterator[str]:
    """Yield what is wrong with the front's program."""
    if binary is None:
        yield MISSING[front]
    elif front == "haproxy":
        yield from _unfit("HAProxy", binary, haproxy.version, haproxy.unfit)


def of_ollama(binary: str | None) -> Iterator[str]:
    """Yield what is wrong with Ollama's program."""
    if binary is None:
        yield MISSING["ollama"]
    else:
        yield from _unfit("Ollama", binary, ollama.version, ollama.unfit)


def _unfit(name: str, binary: str, version: Callable[[str], str], unfit: Callable[[str], str]) -> Iterator[str]:
    try:
        found = version(binary)
    except (OSError, subprocess.SubprocessError) as error:
        yield f"{binary} cannot be run: {error}"
        return
    if unfit(found):
        yield f"{name} {found} at {binary} {unfit(found)}"


def of_ports(fleet: Fleet, instances: Sequence[Instance], front: str) -> Iterator[str]:
    """Yield the addresses that cannot be had, and who has them. mitmproxy needs the front's only."""
    kinds = [(one.name, Listen(one.host, one.port), socket.SOCK_STREAM) for one in instances]
    ours = (
        [*fronts(fleet), *addresses(fleet.listeners)]
        if front == "haproxy"
        else [ListenerAddress("front", fleet.listeners.front)]
    )
    kinds += [(f"listeners.{place.key}", place.listen, place.kind) for place in ours]
    for name, listen, kind in kinds:
        who = taken(listen, kind)
        if who:
            yield f"{name}: {listen} is {who}; {_hint(who)}"


def _hint(who: str) -> str:
    if "(ollama)" in who:
        return "`up` starts its own: end it first (systemctl stop ollama), or write another port"
    return "end it, or write another port" if who.startswith("taken") else "write an address of this host"


def of_files(texts: dict[str, str], binary: str, files: Path, deadline_s: float = haproxy.DEADLINE_S) -> Iterator[str]:
    """Write HAProxy's files; yield what is wrong with them."""
    try:
        write(texts, files)
        refusal = haproxy.refusal(binary, *(files / name for name in CONFIGS), deadline_s=deadline_s)
    except (OSError, subprocess.SubprocessError) as error:
        yield f"HAProxy's files: {error}"
    else:
        if refusal:
            yield f"HAProxy refuses its files in {files}: {refusal}"


def of_gpus(instances: Sequence[Instance], readings: Sequence[GpuReading]) -> Iterator[str]:
    """Yield the GPUs that instances are bound to and this host does not have."""
    for one in instances:
        for gpu in one.gpus:
            try:
                resolve(gpu, readings)
            except UnknownGpu as error:
                yield f"{one.name}: {error}; `pointsman telemetry --once` says why one does not answer"


def of_stores(instances: Sequence[Instance]) -> Iterator[str]:
    """Yield the folders that an Ollama has to write and cannot: its models, and its key."""
    for folder in dict.fromkeys([*map(store_folder, instances), Path.home() / ".ollama"]):
        yield from of_folder(folder, "ollama.models names another place for models")


def of_folder(folder: Path, hint: str) -> Iterator[str]:
    """Yield why a folder cannot be written, or made."""
    # Path.exists raises where one may not look.
    there = next(place for place in (folder, *folder.parents) if os.path.exists(place))
    if not there.is_dir():
        yield f"{folder}: {there} is no folder; {hint}"
    elif not os.access(there, os.W_OK | os.X_OK):
        yield f"{folder} cannot be written: {there} is not yours to write; {hint}"
