"""One Ollama's lists over HTTP: `/api/ps`, `/api/tags`, `/api/version` into plain data."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import aiohttp

from spoe_agent.instances.http import Remote, TooLong, get
from spoe_agent.instances.lists import (
    Installed,
    Lists,
    ModelList,
    UnexpectedAnswer,
    installed_model,
    loaded_model,
    parsed,
)
from spoe_agent.instances.shapes import shape_of
from spoe_agent.routing.memory import ModelShape
from spoe_agent.routing.snapshot import LoadedModel

FAILURES = (OSError, TimeoutError, aiohttp.ClientError, UnexpectedAnswer)
"""What goes wrong with a call for no fault of ours."""

LOAD_DEADLINE_S = 1800.0
"""Models of hundreds of gigabytes take minutes."""


class OllamaClient:
    """Asks one Ollama server. Every call may raise any of FAILURES."""

    def __init__(self, session: aiohttp.ClientSession, remote: Remote, timeout_s: float) -> None:
        self._session = session
        self._remote = remote
        self._timeout_s = timeout_s
        self._loaded = ModelList("/api/ps", loaded_model)
        self._installed = ModelList("/api/tags", installed_model, Installed)
        self._version = ""

    @property
    def lists(self) -> Lists:
        """What the server said last."""
        installed, loaded = self._installed, self._loaded
        return Lists(installed.entries, installed.text, loaded.entries, loaded.text, self._version)

    def presume(self, other: OllamaClient) -> None:
        """Take the server to have the same installed as another one, which shares its store, until it is asked."""
        self._installed.presume(other._installed)

    async def loaded(self) -> Mapping[str, LoadedModel]:
        """Return `/api/ps` by canonical key."""
        return self._loaded.read(await self._get("/api/ps"))

    async def installed(self) -> Installed:
        """Return `/api/tags` by canonical key."""
        return Installed.of(self._installed.read(await self._get("/api/tags")))

    async def version(self) -> str:
        """Return the server's version (`/api/version`)."""
        self._version = str(parsed("/api/version", await self._get("/api/version")).get("version", ""))
        return self._version

    async def shape(self, model: str) -> ModelShape | None:
        """Return a model's shape (`/api/show`); None when the server does not say enough."""
        async with (
            asyncio.timeout(self._timeout_s),
            self._remote.post(self._session, "/api/show", {"model": model}) as answer,
        ):
            if answer.status != 200:
                raise UnexpectedAnswer(f"POST /api/show of {model} answered {answer.status}")
            return shape_of(parsed("/api/show", await answer.read()))

    async def unload(self, model: str) -> None:
        """Ask for a model to be unloaded as soon as it is idle; answered at once (server/routes.go, keep_alive 0)."""
        status, _ = await self._post("/api/generate", {"model": model, "keep_alive": 0}, self._timeout_s)
        if status != 200:
            raise UnexpectedAnswer(f"unloading {model} answered {status}")

    async def touch(self, model: str, context_length: int) -> None:
        """Have a loaded model stay for another time, as long as its last user wanted it to: asked without a prompt,
        and without keep_alive, Ollama only sets that time anew (server/sched.go useLoadedRunner). `context_length` is
        what it is loaded with, for another would reload it.
        """
        body = {"model": model, "stream": False} | ({"options": {"num_ctx": context_length}} if context_length else {})
        await self._without_prompt(body, self._timeout_s)

    async def load(self, model: str) -> None:
        """Have a model loaded, with the context that it is loaded with unasked; answered when it is. Ollama gives the
        load up when this is cancelled, and by itself when it makes no progress (OLLAMA_LOAD_TIMEOUT).
        """
        await self._without_prompt({"model": model, "stream": False}, LOAD_DEADLINE_S)

    async def _without_prompt(self, body: Mapping[str, object], deadline_s: float) -> None:
        status, text = await self._post("/api/generate", body, deadline_s)
        if "does not support generate" in text:  # an embedding model (server/routes.go GenerateHandler)
            status, text = await self._post("/api/embed", {**body, "input": []}, deadline_s)
        if status != 200:
            raise UnexpectedAnswer(f"{body['model']} without a prompt answered {status}")

    async def _post(self, path: str, body: object, deadline_s: float) -> tuple[int, str]:
        async with (
            asyncio.timeout(deadline_s),
            self._remote.post(self._session, path, body) as response,
        ):
            return response.status, "" if response.status == 200 else await response.text(errors="replace")

    async def _get(self, path: str) -> bytes:
        try:
            async with asyncio.timeout(self._timeout_s):
                status, body = await get(self._session, self._remote, path)
        except TooLong as error:
            raise UnexpectedAnswer(f"GET {path} {error}") from error
        if status != 200:
            raise UnexpectedAnswer(f"GET {path} answered {status}")
        return body
