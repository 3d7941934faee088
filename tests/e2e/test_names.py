"""Instances by name: HAProxy starts though nobody knows the name, and goes where it leads to, then and later."""

from __future__ import annotations

from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from spoe_agent.fleet import loads
from spoe_agent.rig.haproxy import front_is_ready, haproxy
from spoe_agent.rig.process import free_port
from tests.e2e.conftest import until
from tests.e2e.dns import dns

NAME = "ollama.example"
FLEET = """
listeners: {{front: "127.0.0.1:{front}", spop: "127.0.0.1:{spop}"}}
instances: [{{name: gpu0, url: "http://ollama.example:{port}"}}]
"""


async def serving(host: str, port: int) -> web.AppRunner:
    """Answer everything with the address that was asked."""

    async def answer(_: web.Request) -> web.Response:
        return web.Response(text=host)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, host, port).start()
    return runner


@pytest.mark.asyncio(loop_scope="module")
async def test_a_name_is_followed(binary: str, session: aiohttp.ClientSession, tmp_path: Path) -> None:
    port, addresses = free_port(), dict[str, str]()
    fleet = loads(FLEET.format(front=free_port(), spop=free_port(), port=port))
    url = f"http://{fleet.listeners.front}/api/version"
    first, second = await serving("127.0.0.1", port), await serving("127.0.0.2", port)

    async def says(text: str) -> bool:
        async with session.get(url) as answer:
            return text in await answer.text()

    async with dns(addresses) as server:
        running = haproxy(binary, fleet, tmp_path)
        config = tmp_path / "haproxy" / "haproxy.cfg"
        # This machine's own DNS servers know nothing of the test.
        asks = f"nameserver test 127.0.0.1:{server}\n    hold valid 1s"
        config.write_text(config.read_text().replace("parse-resolv-conf", asks))
        async with running:
            await running.ready(lambda: front_is_ready(fleet))
            assert await says("error")
            addresses[NAME] = "127.0.0.1"
            await until(lambda: says("127.0.0.1"), 20, "the name is known")
            addresses[NAME] = "127.0.0.2"
            await until(lambda: says("127.0.0.2"), 20, "the name leads elsewhere")
            del addresses[NAME]
            await first.cleanup()
            assert await says("127.0.0.2")
    await second.cleanup()
