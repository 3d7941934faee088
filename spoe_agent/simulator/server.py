"""A simulated Ollama server on a socket: routes, life cycle."""

from __future__ import annotations

import asyncio
from collections import deque

from aiohttp import web

from spoe_agent.simulator import (
    admin,
    api_anthropic,
    api_audio,
    api_cloud,
    api_models,
    api_native,
    api_openai,
    api_responses,
    api_store,
    guard,
    middleware,
)
from spoe_agent.simulator.catalog import DEFAULT_MODELS, Catalog
from spoe_agent.simulator.clock import ScaledClock
from spoe_agent.simulator.engine import Engine
from spoe_agent.simulator.faults import FaultBoard
from spoe_agent.simulator.profile import InstanceProfile
from spoe_agent.simulator.scheduler import Scheduler
from spoe_agent.simulator.state import INSTANCE, RequestRecord, SimulatedInstance

_REMEMBERED_REQUESTS = 10_000

ROUTES = (
    ("GET", "/", api_models.root),
    ("HEAD", "/", api_models.root),
    ("GET", "/api/version", api_models.version),
    ("HEAD", "/api/version", api_models.version),
    ("GET", "/api/status", api_cloud.status),
    ("POST", "/api/me", api_cloud.me),
    ("POST", "/api/signout", api_cloud.signout),
    ("DELETE", "/api/user/keys/{key}", api_cloud.signout),
    ("POST", "/api/experimental/web_search", api_cloud.web_search),
    ("POST", "/api/experimental/web_fetch", api_cloud.web_fetch),
    ("GET", "/api/experimental/model-recommendations", api_cloud.recommendations),
    ("GET", "/api/tags", api_models.tags),
    ("HEAD", "/api/tags", api_models.tags),
    ("POST", "/api/show", api_models.show),
    ("GET", "/api/ps", api_models.ps),
    ("POST", "/api/pull", api_store.pull),
    ("POST", "/api/push", api_store.push),
    ("POST", "/api/create", api_store.create),
    ("POST", "/api/copy", api_store.copy),
    ("DELETE", "/api/delete", api_store.delete),
    ("HEAD", "/api/blobs/{digest}", api_store.head_blob),
    ("POST", "/api/blobs/{digest}", api_store.put_blob),
    ("POST", "/api/generate", api_native.generate),
    ("POST", "/api/chat", api_native.chat),
    ("POST", "/api/embed", api_native.embed),
    ("POST", "/api/embeddings", api_native.embeddings),
    ("POST", "/v1/chat/completions", api_openai.chat_completions),
    ("POST", "/v1/completions", api_openai.completions),
    ("POST", "/v1/embeddings", api_openai.embeddings),
    ("POST", "/v1/responses", api_responses.responses),
    ("POST", "/v1/audio/transcriptions", api_audio.transcriptions),
    ("POST", "/v1/messages", api_anthropic.messages),
    ("GET", "/v1/models", api_models.v1_models),
    ("GET", "/v1/models/{model}", api_models.v1_model),
    ("POST", "/sim/fault", admin.fault),
    ("GET", "/sim/stats", admin.stats),
    ("GET", "/sim/gpus", admin.gpus),
    ("GET", "/sim/requests", admin.requests),
)


class SimulatedOllama:
    """One Ollama process that never was. Each ``start`` begins empty, as a restart does."""

    def __init__(
        self, profile: InstanceProfile | None = None, catalog: Catalog | None = None, time_scale: float = 1.0
    ) -> None:
        self._profile = profile or InstanceProfile()
        self._catalog = catalog or Catalog(DEFAULT_MODELS)
        self._time_scale = time_scale
        self._runner: web.AppRunner | None = None
        self._engine: Engine | None = None

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> int:
        """Listen and return the port, a free one for 0. Raises OSError if the address cannot be had."""
        clock = ScaledClock(asyncio.get_running_loop(), self._time_scale)
        self._engine = Engine(Scheduler(self._profile), clock)
        # Ollama has no limit on bodies (0), and a client that leaves cancels its request.
        app = web.Application(
            middlewares=[middleware.record, middleware.checks(guard.is_loopback(host)), middleware.errors],
            client_max_size=0,
        )
        requests = deque[RequestRecord](maxlen=_REMEMBERED_REQUESTS)
        app[INSTANCE] = SimulatedInstance(self._profile, self._catalog, self._engine, FaultBoard(), requests)
        for method, path, handler in ROUTES:
            app.router.add_route(method, path, handler)
        app.on_response_prepare.append(middleware.on_prepare)
        # Ollama undoes no Content-Encoding but zstd, and that only on /v1 (serving.py).
        self._runner = web.AppRunner(app, handler_cancellation=True, access_log=None, auto_decompress=False)
        await self._runner.setup()
        await web.TCPSite(self._runner, host, port).start()
        return int(self._runner.addresses[0][1])

    async def stop(self) -> None:
        """Cut every connection and stop listening at once, as Ollama does on SIGTERM (routes.go:2021-2030)."""
        runner, engine = self._runner, self._engine
        if runner is None or engine is None:
            return
        self._runner = self._engine = None
        engine.close()
        for site in list(runner.sites):
            await site.stop()
        for connection in list(runner.server.connections if runner.server is not None else ()):
            if connection.transport is not None:
                connection.transport.abort()
        await runner.cleanup()

    async def run(self, host: str, port: int) -> None:
        """Serve until cancelled."""
        await self.start(host, port)
        try:
            await asyncio.Event().wait()
        finally:
            await self.stop()
