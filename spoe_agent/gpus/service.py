"""`pointsman telemetry --listen`: this host's readings as JSON for a router elsewhere.

Lives here: pollers, board and HTTP server put together.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import structlog
from aiohttp import web

from spoe_agent.fleet.units import Listen
from spoe_agent.gpus.board import GpuBoard
from spoe_agent.gpus.poll import GpuPoller, Source
from spoe_agent.gpus.wire import PATH, encode
from spoe_agent.instances.beat import Beat

log = structlog.get_logger()


async def read_once(sources: Sequence[Source], deadline_s: float) -> GpuBoard:
    """Read every source once, each within the deadline."""
    board = GpuBoard(source.name for source in sources)
    await asyncio.gather(*(GpuPoller(source, board, Beat(), deadline_s).poll() for source in sources))
    return board


async def serve(sources: Sequence[Source], listen: Listen, beat: Beat, stop: asyncio.Event) -> None:
    """Poll the sources and answer GET /gpus until `stop` is set. Raises OSError when the address cannot be used."""
    board = GpuBoard(source.name for source in sources)

    async def answer(_: web.Request) -> web.Response:
        body = encode(board.readings.values(), board.states, beat.clock())
        return web.Response(body=body, content_type="application/json", headers={"cache-control": "no-store"})

    app = web.Application()
    app.add_routes([web.get(PATH, answer)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, listen.host, listen.port).start()
        log.info("telemetry ready", url=f"http://{listen}{PATH}", sources=[source.name for source in sources])
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(GpuPoller(source, board, beat).run()) for source in sources]
            await stop.wait()
            for task in tasks:
                task.cancel()
    finally:
        await runner.cleanup()
