"""One Ollama's lists over HTTP: `/api/ps`, `/api/tags`, `/api/version` into plain data."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Generic, TypeVar

import aiohttp

from spoe_agent.instances.http import Remote, TooLong, get
from spoe_agent.routing.names import canonical
from spoe_agent.routing.snapshot import LoadedModel

Entry = Mapping[str, Any]
T = TypeVar("T")


class UnexpectedAnswer(Exception):
    """The server answered, but not as Ollama does."""


FAILURES = (OSError, TimeoutError, aiohttp.ClientError, UnexpectedAnswer)
"""What goes wrong with a call for no fault of ours."""


class OllamaClient:
    """Asks one Ollama server. Every call may raise any of FAILURES."""

    def __init__(self, session: aiohttp.ClientSession, remote: Remote, timeout_s: float) -> None:
        self._session = session
        self._remote = remote
        self._timeout_s = timeout_s
        self._loaded = _List("/api/ps", _loaded_model)
        self._installed = _List("/api/tags", lambda entry: _integer(entry, "size"))

    async def loaded(self) -> Mapping[str, LoadedModel]:
        """Return `/api/ps` by canonical key."""
        return self._loaded.read(await self._get("/api/ps"))

    async def installed(self) -> Mapping[str, int]:
        """Return bytes on disk by canonical key (`/api/tags`)."""
        return self._installed.read(await self._get("/api/tags"))

    async def version(self) -> str:
        """Return the server's version (`/api/version`)."""
        return str(_parsed("/api/version", await self._get("/api/version")).get("version", ""))

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


class _List(Generic[T]):
    """A list of models that is read again only when it has changed: reading a long one keeps requests waiting."""

    def __init__(self, path: str, of: Callable[[Entry], T]) -> None:
        self._path = path
        self._of = of
        self._text: bytes | None = None
        self._found: Mapping[str, T] = {}

    def read(self, text: bytes) -> Mapping[str, T]:
        if text != self._text:
            self._found = {key: self._of(entry) for key, entry in _entries(_parsed(self._path, text))}
            self._text = text
        return self._found


def _parsed(path: str, text: bytes) -> Entry:
    try:
        answer = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UnexpectedAnswer(f"GET {path} answered no JSON: {error}") from error
    if not isinstance(answer, dict):
        raise UnexpectedAnswer(f"GET {path} answered no JSON object")
    return answer


def _entries(answer: Entry) -> list[tuple[str, Entry]]:
    """Return the models of a list by canonical key. `models` may be null; a name we cannot read is left out."""
    found: list[tuple[str, Entry]] = []
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


def _loaded_model(entry: Entry) -> LoadedModel:
    return LoadedModel(
        size_bytes=_integer(entry, "size"),
        vram_bytes=_integer(entry, "size_vram"),
        context_length=_integer(entry, "context_length"),
        expires_at_s=_time(entry, "expires_at"),
    )


def _time(entry: Entry, key: str) -> float | None:
    """Return a time as seconds since 1970. Go prints nanoseconds, which Python cuts; None for what is no time."""
    value = entry.get(key)
    try:
        return datetime.fromisoformat(value).timestamp() if isinstance(value, str) else None
    except (ValueError, OverflowError):
        return None


def _integer(entry: Entry, key: str) -> int:
    value = entry.get(key)
    return value if isinstance(value, int) else 0
