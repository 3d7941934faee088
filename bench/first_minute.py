"""The first minute after the whole fleet was started again: how many requests wait for a model that had room to load.

`pointsman up --simulate` with four instances that take as long to load as real ones did (simulator/profile). Eight
models are loaded. Then all is ended by Ctrl-C and started again, and requests come as soon as the front is open; and
all four instances are killed while HAProxy goes on, as when Ollamas of a host are restarted, and requests go on coming.

Run it: python -m bench.first_minute. It takes about four minutes, and exits with 1 when a request waited after a start.
"""

from __future__ import annotations

import asyncio
import json
import random
import signal
import socket
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import click
import psutil

from spoe_agent.rig.process import Process, free_port
from spoe_agent.rig.stack import POINTSMAN

SIZES_GB = (2, 3, 4, 5, 6, 7, 8, 9)
INSTANCES = 4
PER_S = 0.8
MINUTE_S = 60.0
AT_REST_S = 3.0
"""Readings show by then what is loaded."""

WAITED = ("room", "evict", "loading", "reload")
"""What `x-pointsman` says of requests that waited for a load."""


def fleet() -> dict[str, Any]:
    """Return a fleet file's content, on free ports."""
    tcp = ("front", "spop", "check", "admin", "door", "again")
    listeners = {name: f"127.0.0.1:{free_port()}" for name in tcp}
    listeners["log"] = f"127.0.0.1:{free_port(socket.SOCK_DGRAM)}"
    instances = [{"name": f"g{n}", "url": f"http://127.0.0.1:{free_port()}"} for n in range(INSTANCES)]
    models = [{"match": f"m{size}", "size": f"{size}GB"} for size in SIZES_GB]
    defaults = {"vram": "24GiB", "num_parallel": 4, "ollama": {"keep_alive": "1h"}}
    return {"listeners": listeners, "defaults": defaults, "instances": instances, "models": models}


class Traffic:
    """Asks the front; notes what became of it."""

    def __init__(self, front: str, session: aiohttp.ClientSession) -> None:
        self._front = front
        self._session = session
        self.outcomes: Counter[str] = Counter()

    async def ask(self, size: int) -> None:
        """Send one request."""
        body = {"model": f"m{size}", "prompt": "hi", "stream": False, "options": {"num_predict": 20}}
        try:
            async with self._session.post(f"http://{self._front}/api/generate", json=body) as answer:
                said = answer.headers.get("x-pointsman", "").split()
                self.outcomes[said[1] if answer.status == 200 and len(said) > 1 else str(answer.status)] += 1
        except aiohttp.ClientError as error:
            self.outcomes[type(error).__name__] += 1

    async def minute(self, chance: random.Random) -> None:
        """Ask at random for a minute, and wait for the answers."""
        until_s = time.monotonic() + MINUTE_S
        async with asyncio.TaskGroup() as asked:
            while time.monotonic() < until_s:
                asked.create_task(self.ask(chance.choice(SIZES_GB)))
                await asyncio.sleep(chance.expovariate(PER_S))

    def summary(self) -> dict[str, Any]:
        """Return the figures."""
        waited = sum(self.outcomes[reason] for reason in WAITED)
        return {"requests": self.outcomes.total(), "waited for a load": waited, "outcomes": dict(self.outcomes)}


async def measured(folder: Path) -> dict[str, dict[str, Any]]:
    """Run both restarts."""
    file, document, chance = folder / "fleet.yaml", fleet(), random.Random(1)
    file.write_text(json.dumps(document))
    front = document["listeners"]["front"]
    command = ["env", f"XDG_STATE_HOME={folder}", *map(str, POINTSMAN), "up", "--simulate", "--fleet", str(file)]
    found = {}
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=120)) as session:
        up = Process("first", command, folder)
        async with up:
            await until_open(front)
            for size in SIZES_GB:
                await Traffic(front, session).ask(size)
            await asyncio.sleep(AT_REST_S)
            up.signal(signal.SIGINT)
            await up.wait()
        up, after_start = Process("again", command, folder), Traffic(front, session)
        async with up:
            begun_s = time.monotonic()
            await until_open(front)
            opened_s = time.monotonic() - begun_s
            await after_start.minute(chance)
            found["all started again"] = {"front open after, s": round(opened_s, 1), **after_start.summary()}
            going_on = Traffic(front, session)
            for instance in simulated(up.pid):
                instance.kill()
            await going_on.minute(chance)
            found["instances killed under HAProxy"] = going_on.summary()
    return found


async def until_open(front: str, deadline_s: float = 120.0) -> None:
    """Wait until the front accepts connections."""
    host, port = front.split(":")
    async with asyncio.timeout(deadline_s):
        while True:
            try:
                _, writer = await asyncio.open_connection(host, int(port))
            except OSError:
                await asyncio.sleep(0.05)
            else:
                writer.close()
                return


def simulated(pid: int) -> Iterator[psutil.Process]:
    """Yield the instances that `up` runs."""
    for child in psutil.Process(pid).children():
        if "simulate" in child.cmdline():
            yield child


@click.command()
def main() -> None:
    """Measure, and print one JSON object."""
    with tempfile.TemporaryDirectory() as folder:
        found = asyncio.run(measured(Path(folder)))
    click.echo(json.dumps(found, indent=2))
    if found["all started again"]["waited for a load"]:
        sys.exit(1)


if __name__ == "__main__":
    main()
