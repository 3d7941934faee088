"""One Ollama's lists over HTTP: `/api/ps`, `/api/tags`, `/api/version` into plain data."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import aiohttp

from spoe_agent.instances.http import Remote, TooLong, get
from spoe_agent.instances.lists import (
    InstalledModel,
    Lists,
    ModelList,
    UnexpectedAnswer,
    installed_model,
    loaded_model,
    parsed,
)
from spoe_agent.routing.snapshot import LoadedModel

FAILURES = (OSError, TimeoutError, aiohttp.ClientError, UnexpectedAnswer)
"""What goes wrong with a call for no fault of ours."""


class OllamaClient:
    """Asks one Ollama server. Every call may raise any of FAILURES."""

    def __init__(self, session: aiohttp.ClientSession, remote: Remote, timeout_s: float) -> None:
        self._session = session
        self._remote = remote
        self._timeout_s = timeout_s
        self._loaded = ModelList("/api/ps", loaded_model)
        self._installed = ModelList("/api/tags", installed_model)
        self._version = ""

    @property
    def lists(self) -> Lists:
        """What the server said last."""
        installed, loaded = self._installed, self._loaded
        return Lists(installed.entries, installed.text, loaded.entries, loaded.text, self._version)

    async def loaded(self) -> Mapping[str, LoadedModel]:
        """Return `/api/ps` by canonical key."""
        return self._loaded.read(await self._get("/api/ps"))

    async def installed(self) -> Mapping[str, InstalledModel]:
        """Return `/api/tags` by canonical key."""
        return self._installed.read(await self._get("/api/tags"))

    async def version(self) -> str:
        """Return the server's version (`/api/version`)."""
        self._version = str(parsed("/api/version", await self._get("/api/version")).get("version", ""))
        return self._version

    async def unload(self, model: str) -> None:
        """Ask for a model to be unloaded as soon as it is idle; answered at once (server/routes.go, keep_alive 0)."""
        body = {"model": model, "keep_alive": 0}
        async with (
            asyncio.timeout(self._timeout_s),
            self._remote.post(self._session, "/api/generate", body) as response,
        ):
            if response.status != 200:
                raise UnexpectedAnswer(f"unloading {model} answered {response.status}")

    async def _get(self, path: str) -> bytes:
        try:
            async with asyncio.timeout(self._timeout_s):
                status, body = await get(self._session, self._remote, path)
        except TooLong as error:
            raise UnexpectedAnswer(f"GET {path} {error}") from error
        if status != 200:
            raise UnexpectedAnswer(f"GET {path} answered {status}")
        return body
