"""An agent put together for simulated Ollamas that listen on loopback, as `serve` and mitmproxy do it."""

import socket
from contextlib import asynccontextmanager

import aiohttp
from aiohttp.abc import AbstractResolver

from spoe_agent.fleet import load
from spoe_agent.routing import Action, Candidate, Choice, Health
from spoe_agent.routing.names import canonical
from spoe_agent.serve import assemble
from spoe_agent.simulator.catalog import Catalog, Model
from spoe_agent.simulator.server import SimulatedOllama

A = canonical("a")
BOX = "gpubox.example"


class Resolver(AbstractResolver):
    """Every name is this host's: what /etc/hosts would do."""

    async def resolve(self, host, port=0, family=socket.AF_INET):
        return [{"hostname": host, "host": "127.0.0.1", "port": port, "family": family, "proto": 0, "flags": 0}]

    async def close(self):
        pass


@asynccontextmanager
async def ollama(*models):
    server = SimulatedOllama(catalog=Catalog([Model(name, 300_000_000) for name in models]), time_scale=100.0)
    port = await server.start()
    try:
        yield port
    finally:
        await server.stop()


async def test_polls_probes_and_unloads_are_let_in_where_requests_are(tmp_path):
    """An Ollama on loopback answers 403 to a name that it does not know, and HAProxy calls it localhost."""
    async with (
        ollama("a") as port,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(resolver=Resolver())) as session,
    ):
        (tmp_path / "fleet.yaml").write_text(f"instances: [{{name: g0, url: 'http://{BOX}:{port}'}}]")
        parts = await assemble(load(tmp_path / "fleet.yaml"), session)
        state = parts.board.state("g0")
        assert (state.health, set(state.installed)) == (Health.UP, {A})
        parts.watch.health["g0"].stalled("a is silent", False, 0.0)
        await parts.watch.probe(parts.watch.health["g0"])
        await parts.agent.make_room(Choice(Action.ROUTE, "evict", "g0", candidates=(Candidate("g0", victims=(A,)),)))
        async with session.get(f"http://127.0.0.1:{port}/sim/requests") as answer:
            seen = (await answer.json())["requests"]
    assert [request["path"] for request in seen if request["method"] == "POST"] == ["/api/generate"] * 2
    assert {(request["host"], request["status"]) for request in seen} == {("localhost", 200)}
