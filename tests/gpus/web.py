"""A small HTTP server on a free loopback port, for sources that ask one."""

from __future__ import annotations

from contextlib import asynccontextmanager

import aiohttp
from aiohttp import web


@asynccontextmanager
async def answering(**pages):
    """Serve each page at /NAME: text, bytes, a status, or an async handler. Gives the URL and a session."""
    app = web.Application()
    for name, page in pages.items():
        app.router.add_get(f"/{name}", page if callable(page) else _fixed(page))
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        async with aiohttp.ClientSession() as session:
            yield f"http://127.0.0.1:{runner.addresses[0][1]}", session
    finally:
        await runner.cleanup()


def _fixed(page):
    async def handler(_):
        if isinstance(page, int):
            return web.Response(status=page)
        return web.Response(body=page if isinstance(page, bytes) else page.encode())

    return handler
