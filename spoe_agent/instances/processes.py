"""What the Ollamas of this host were started with, read from their processes' environment.

Only processes that this user may look into are found: its own, or all for root. Of others nothing is known. Of an
environment only Ollama's two settings are looked at.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress

import psutil

from spoe_agent.agent.settings import Started
from spoe_agent.fleet import Instance

INTERVAL_S = 30.0
"""So long after its restart another process is found at the latest."""

PROGRAM = "ollama"

_EVERY_HOST = ("0.0.0.0", "::")
_LOOPBACK = ("127.0.0.1", "::1")

ONE_SLOT_SINCE = (0, 12)
"""Of these versions, without OLLAMA_NUM_PARALLEL, a model has one slot; older ones chose by memory."""

MODELS_PER_GPU = 3
"""server/sched.go defaultModelsPerGPU."""


class OllamaProcesses:
    """Tells what instances were started with, again and again.

    Args:
        instances: those of the fleet.
        tell: takes an instance's name and what its process was started with.
        version: returns which Ollama an instance is; "" when that is not known.
    """

    def __init__(
        self,
        instances: Callable[[], Iterable[Instance]],
        tell: Callable[[str, Started], None],
        version: Callable[[str], str],
    ) -> None:
        self._instances = instances
        self._tell = tell
        self._version = version
        self._known: dict[str, psutil.Process] = {}

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(INTERVAL_S)

    async def look(self) -> None:
        """Look once. Not on the event loop: it takes milliseconds for each process of the host."""
        here = [one for one in self._instances() if one.onward is None and one.is_here]
        found = await asyncio.to_thread(self._look, here)
        for one in here:
            environment = found.get(one.name)
            told = Started() if environment is None else started(environment, self._version(one.name), len(one.gpus))
            self._tell(one.name, told)

    def _look(self, here: list[Instance]) -> dict[str, Mapping[str, str]]:
        known = {name: process for name, process in self._known.items() if process.is_running()}
        missing = [one for one in here if one.name not in known]
        known |= at(missing, listening()) if missing else {}
        self._known = {one.name: known[one.name] for one in here if one.name in known}
        found: dict[str, Mapping[str, str]] = {}
        for name, process in self._known.items():
            with suppress(OSError, psutil.Error):
                found[name] = process.environ()
        return found


def started(environment: Mapping[str, str], version: str, gpus: int) -> Started:
    """Return what an environment means for Ollama (envconfig/config.go). A number that it cannot read is no number.

    Args:
        environment: the process's.
        version: which Ollama it is; "" when that is not known.
        gpus: how many GPUs it has; 0: not known.
    """
    numbers = re.match(r"(\d+)\.(\d+)", version)
    has_one_slot = numbers is not None and tuple(map(int, numbers.groups())) >= ONE_SLOT_SINCE
    parallel = _number(environment.get("OLLAMA_NUM_PARALLEL", "")) or (1 if has_one_slot else None)
    most = _number(environment.get("OLLAMA_MAX_LOADED_MODELS", "")) or MODELS_PER_GPU * gpus or None
    return Started(parallel, most)


def _number(text: str) -> int:
    text = text.strip().strip("\"'")
    return int(text) if text.isascii() and text.isdecimal() else 0


def listening() -> Iterable[tuple[str, int, psutil.Process]]:
    """Yield host, port and process of each Ollama of this host that this user may look into."""
    for process in psutil.process_iter(["name"]):
        if str(process.info["name"]).startswith(PROGRAM):
            with suppress(OSError, psutil.Error):
                for one in process.net_connections("tcp"):
                    if one.status == psutil.CONN_LISTEN:
                        yield one.laddr.ip, one.laddr.port, process


def at(instances: Iterable[Instance], found: Iterable[tuple[str, int, psutil.Process]]) -> dict[str, psutil.Process]:
    """Return the processes that listen where instances of this host are, by instance."""
    there = list(found)
    here = [one for one in instances if one.onward is None and one.is_here]
    return {one.name: process for one in here for host, port, process in there if _is_at(one, host, port)}


def _is_at(instance: Instance, host: str, port: int) -> bool:
    hosts = _LOOPBACK if instance.host == "localhost" else (instance.host,)
    return port == instance.port and host in (*hosts, *_EVERY_HOST)
