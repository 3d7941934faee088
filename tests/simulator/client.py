"""A simulated server on a free loopback port, and a client for it."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from dataclasses import replace

import aiohttp

from spoe_agent.simulator.catalog import Catalog
from spoe_agent.simulator.server import SimulatedOllama
from tests.simulator.scenario import MODELS, PROFILE

DEADLINE_S = 20.0


class Client:
    """JSON in, status and JSON out; streams as lists of lines or events."""

    def __init__(self, session: aiohttp.ClientSession, port: int, server: SimulatedOllama) -> None:
        self.session = session
        self.port = port
        self.server = server

    async def get(self, path, **headers):
        async with self.session.get(path, headers=headers) as response:
            return response.status, await response.json()

    async def post(self, path, body, **headers):
        async with self.session.post(path, json=body, headers=headers) as response:
            return response.status, await response.json()

    async def lines(self, path, body):
        """A native stream: its content type and its lines."""
        async with self.session.post(path, json=body) as response:
            text = await response.text()
            return response.headers["Content-Type"], [json.loads(line) for line in text.splitlines()]

    async def events(self, path, body):
        """A stream of server-sent events: its content type and (name, data) of each."""
        async with self.session.post(path, json=body) as response:
            text = await response.text()
            return response.headers["Content-Type"], [_event(block) for block in text.split("\n\n") if block]

    async def fault(self, kind, **facts):
        status, body = await self.post("/sim/fault", {"kind": kind} | facts)
        assert status == 200, body

    async def until(self, **wanted):
        """Wait until /sim/stats has these values."""
        async with asyncio.timeout(DEADLINE_S):
            while True:
                _, stats = await self.get("/sim/stats")
                if all(stats[key] == value for key, value in wanted.items()):
                    return stats
                await asyncio.sleep(0.01)


def _event(block):
    name = None
    for line in block.splitlines():
        key, _, value = line.partition(": ")
        if key == "event":
            name = value
        else:
            data = value if value == "[DONE]" else json.loads(value)
    return name, data


@asynccontextmanager
async def simulated(time_scale=200.0, models=MODELS, **profile):
    """A running server with the models and round numbers of scenario.py."""
    server = SimulatedOllama(replace(PROFILE, **profile), Catalog(models.values()), time_scale)
    port = await server.start()
    timeout = aiohttp.ClientTimeout(total=DEADLINE_S)
    try:
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}", timeout=timeout) as session:
            yield Client(session, port, server)
    finally:
        await server.stop()
