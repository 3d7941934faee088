"""A `pointsman telemetry` of another host, whose GPUs a test sets."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

from aiohttp import web

from spoe_agent.gpus.reading import GpuReading
from spoe_agent.gpus.wire import PATH, encode

TOTAL_BYTES = 48 << 30


class Host:
    """Two GPUs, 0 and 1, both empty."""

    def __init__(self) -> None:
        self.gpus = [
            GpuReading(
                f"GPU-0000000{index}",
                index=index,
                memory_total_bytes=TOTAL_BYTES,
                memory_used_bytes=0,
                memory_free_bytes=TOTAL_BYTES,
                throttle=frozenset(),
            )
            for index in range(2)
        ]

    def set(self, index: int, **fields: object) -> None:
        """Change what a GPU reads."""
        self.gpus[index] = replace(self.gpus[index], **fields)  # type: ignore[arg-type]

    def uses(self, index: int, used_bytes: int) -> None:
        """Let a GPU be used."""
        self.set(index, memory_used_bytes=used_bytes, memory_free_bytes=TOTAL_BYTES - used_bytes)

    @asynccontextmanager
    async def serving(self, port: int) -> AsyncIterator[None]:
        """Answer as `pointsman telemetry --listen` does."""

        async def answer(_: web.Request) -> web.Response:
            now_s = time.monotonic()
            return web.Response(body=encode([replace(gpu, read_at_s=now_s) for gpu in self.gpus], {}, now_s))

        app = web.Application()
        app.add_routes([web.get(PATH, answer)])
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", port).start()
            yield
        finally:
            await runner.cleanup()
