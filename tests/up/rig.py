"""`pointsman up` as a process of its own, on free ports."""

import asyncio
import json
import os
import signal
import socket
import sys
from contextlib import asynccontextmanager

import aiohttp
import psutil

from spoe_agent.rig.process import free_port

READY = "the fleet is at"

DEADLINE_S = 60.0
"""Five programs of Python start one after the other: on busy cores each takes seconds."""


def fleet_file(path, instances=2, instances_are=None, **more):
    """Write a fleet file; return what is in it."""
    listeners = {name: f"127.0.0.1:{free_port()}" for name in ("front", "spop", "check", "admin", "door", "again")}
    listeners["log"] = f"127.0.0.1:{free_port(socket.SOCK_DGRAM)}"
    instances_are = instances_are or [
        {"name": f"g{n}", "url": f"http://127.0.0.1:{free_port()}"} for n in range(instances)
    ]
    document = {
        "listeners": listeners,
        "instances": instances_are
        or [{"name": f"g{n}", "url": f"http://127.0.0.1:{free_port()}"} for n in range(instances)],
        "models": [{"match": "small", "size": "100MB"}, {"match": "other", "size": "100MB"}],
        **more,
    }
    path.write_text(json.dumps(document))
    return document


class Up:
    """A run of `up`, and what it has printed so far."""

    def __init__(self, process, document):
        self.process, self.document, self.lines = process, document, []

    @property
    def url(self):
        return f"http://{self.document['listeners']['front']}"

    async def read(self):
        async for line in self.process.stdout:
            self.lines.append(line.decode().rstrip("\n"))

    async def says(self, text, times=1):
        """Wait for a line with this text."""
        async with asyncio.timeout(DEADLINE_S):
            while sum(text in line for line in self.lines) < times:
                assert self.process.returncode is None, "\n".join(self.lines)
                await asyncio.sleep(0.02)
        return next(line for line in self.lines if text in line)

    def children(self):
        return psutil.Process(self.process.pid).children(recursive=True)

    def child(self, word):
        """The one of its children with this word in its command line."""
        (found,) = [one for one in psutil.Process(self.process.pid).children() if word in " ".join(one.cmdline())]
        return found

    async def end(self, number=signal.SIGINT):
        """Send a signal; return the status it ends with."""
        self.process.send_signal(number)
        async with asyncio.timeout(DEADLINE_S):
            return await self.process.wait()

    def ports(self):
        listeners = [address for name, address in self.document["listeners"].items() if name != "log"]
        urls = [one["url"].removeprefix("http://") for one in self.document["instances"]]
        return [int(address.rpartition(":")[2]) for address in (*listeners, *urls)]

    async def ask(self, model, session):
        body = {"model": model, "messages": [{"role": "user", "content": "hi"}], "stream": False}
        async with session.post(f"{self.url}/api/chat", json=body) as answer:
            return answer.status, answer.headers.get("x-pointsman", ""), await answer.json()


def is_free(port):
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        return probe.connect_ex(("127.0.0.1", port)) != 0


async def all_gone(processes, ports):
    """Wait until none of these processes is alive and nobody listens at these ports."""
    async with asyncio.timeout(DEADLINE_S):
        while any(one.is_running() and one.status() != psutil.STATUS_ZOMBIE for one in processes) or not all(
            map(is_free, ports)
        ):
            await asyncio.sleep(0.05)


async def started(folder, options, environment=None, stdout=asyncio.subprocess.PIPE):
    """Run `up` on the fleet file that is there; return the process."""
    command = [sys.executable, "-m", "spoe_agent", "up", "--fleet", str(folder / "fleet.yaml"), *options]
    env = {**os.environ, "XDG_STATE_HOME": str(folder / "state"), **(environment or {})}
    return await asyncio.create_subprocess_exec(
        *command, env=env, stdout=stdout, stderr=asyncio.subprocess.STDOUT, preexec_fn=_heeds
    )


def _heeds():
    """A script's background jobs ignore Ctrl-C, what nohup starts SIGHUP, and so would what these tests start there."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


@asynccontextmanager
async def up(folder, *options, environment=None, again=False, **more):
    """Run `up` on a fleet file of its own; `again`: on the one that is there."""
    path = folder / "fleet.yaml"
    document = json.loads(path.read_text()) if again else fleet_file(path, **more)
    process = await started(folder, options, environment)
    run = Up(process, document)
    async with asyncio.TaskGroup() as group:
        group.create_task(run.read())
        try:
            yield run
        finally:
            if process.returncode is None:
                process.send_signal(signal.SIGTERM)
            async with asyncio.timeout(DEADLINE_S):
                await process.wait()


def session():
    return aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=DEADLINE_S))
