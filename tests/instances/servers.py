"""A small real HTTP server that answers as Ollama does, or as a test wants it to."""

import asyncio
from contextlib import asynccontextmanager

from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer

from spoe_agent.instances.http import Remote
from spoe_agent.instances.ollama import OllamaClient

PATHS = ("/api/ps", "/api/tags", "/api/version")

MODEL = {"name": "llama3:8b", "model": "llama3:8b", "size": 30, "size_vram": 20, "context_length": 4096}


class FakeOllama:
    """`answers` maps a path to what is sent as JSON, or to a web.Response; `hang` holds every answer back."""

    def __init__(self):
        self.answers = {"/api/ps": {"models": []}, "/api/tags": {"models": []}, "/api/version": {"version": "0.33.0"}}
        self.asked = []
        self.posted = []
        """Bodies of POST requests."""
        self.hang = asyncio.Event()
        self.hang.set()

    async def handle(self, request):
        self.asked.append(request.path)
        if request.method == "POST":
            self.posted.append(await request.json())
        await self.hang.wait()
        answer = self.answers[request.path]
        return web.json_response(answer) if not isinstance(answer, web.Response) else answer

    @asynccontextmanager
    async def serving(self, port=None):
        app = web.Application()
        for path in PATHS:
            app.router.add_get(path, self.handle)
        for path in ("/api/generate", "/api/embed"):
            app.router.add_post(path, self.handle)
        async with TestServer(app, host="127.0.0.1", port=port) as server:
            try:
                yield str(server.make_url("")).rstrip("/")
            finally:
                self.hang.set()


@asynccontextmanager
async def client_of(ollama, timeout_s=30.0):
    async with ollama.serving() as url, ClientSession() as session:
        yield OllamaClient(session, Remote(url), timeout_s)
