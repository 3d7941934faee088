"""One Ollama's lists over HTTP: `/api/ps`, `/api/tags`, `/api/version` into plain data.

Must not live here: when to ask, what a failure means (poll), who looks at it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import aiohttp

from spoe_agent.routing.names import canonical
from spoe_agent.routing.snapshot import LoadedModel

_MAX_LIST_BYTES = 16 * 1024 * 1024


class UnexpectedAnswer(Exception):
    """The server answered, but not as Ollama does."""


class OllamaClient:
    """Asks one Ollama server. Every call raises OSError, TimeoutError, aiohttp.ClientError or UnexpectedAnswer."""

    def __init__(self, session: aiohttp.ClientSession, url: str, timeout_s: float) -> None:
        self._session = session
        self._url = url.rstrip("/")
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)

    async def loaded(self) -> dict[str, LoadedModel]:
        """Return `/api/ps` by canonical key."""
        return {key: _loaded_model(entry) for key, entry in _entries(await self._get("/api/ps"))}

    async def installed(self) -> dict[str, int]:
        """Return bytes on disk by canonical key (`/api/tags`)."""
        return {key: _integer(entry, "size") for key, entry in _entries(await self._get("/api/tags"))}

    async def version(self) -> str:
        """Return the server's version (`/api/version`)."""
        return str((await self._get("/api/version")).get("version", ""))

    async def unload(self, model: str) -> None:
        """Ask for a model to be unloaded as soon as it is idle; answered at once (server/routes.go, keep_alive 0)."""
        body = {"model": model, "keep_alive": 0}
        async with self._session.post(f"{self._url}/api/generate", json=body, timeout=self._timeout) as response:
            if response.status != 200:
                raise UnexpectedAnswer(f"unloading {model} answered {response.status}")

    async def _get(self, path: str) -> Mapping[str, Any]:
        async with self._session.get(self._url + path, timeout=self._timeout) as response:
            if response.status != 200:
                raise UnexpectedAnswer(f"GET {path} answered {response.status}")
            if (response.content_length or 0) > _MAX_LIST_BYTES:
                raise UnexpectedAnswer(f"GET {path} answered more than {_MAX_LIST_BYTES} bytes")
            try:
                answer = await response.json(content_type=None)
            except ValueError as error:
                raise UnexpectedAnswer(f"GET {path} answered no JSON: {error}") from error
        if not isinstance(answer, dict):
            raise UnexpectedAnswer(f"GET {path} answered no JSON object")
        return answer


def _entries(answer: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """Return the models of a list by canonical key. `models` may be null; a name we cannot read is left out."""
    found: list[tuple[str, Mapping[str, Any]]] = []
    models = answer.get("models") or []
    for entry in models if isinstance(models, list) else []:
        name = entry.get("model") or entry.get("name") if isinstance(entry, dict) else None
        if not isinstance(name, str):
            continue
        try:
            found.append((canonical(name), entry))
        except ValueError:
            continue
    return found


def _loaded_model(entry: Mapping[str, Any]) -> LoadedModel:
    return LoadedModel(
        size_bytes=_integer(entry, "size"),
        vram_bytes=_integer(entry, "size_vram"),
        context_length=_integer(entry, "context_length"),
    )


def _integer(entry: Mapping[str, Any], key: str) -> int:
    value = entry.get(key)
    return value if isinstance(value, int) else 0
