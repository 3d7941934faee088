"""What is in an Ollama's lists of models (`/api/tags`, `/api/ps`): api/types.go ListResponse, ProcessResponse."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property, lru_cache
from typing import Any, Generic, NamedTuple, TypeVar
from weakref import WeakValueDictionary

from pydantic_core import from_json

from spoe_agent.routing.names import canonical
from spoe_agent.routing.snapshot import LoadedModel

ModelEntry = Mapping[str, Any]
"""A model's entry as the server sent it."""

T = TypeVar("T")


class UnexpectedAnswer(Exception):
    """The server answered, but not as Ollama does."""


ONE_BY_ONE = frozenset(
    {"lfm2", "lfm2moe", "mllama", "nemotron_h", "nemotron_h_moe", "nemotron_h_omni"}
    | {"qwen35", "qwen35moe", "qwen3next", "qwen3vl", "qwen3vlmoe"}
)
"""Families that are not safe with more than one request at a time (server/sched.go load)."""


class InstalledModel(NamedTuple):
    """One entry of `/api/tags`."""

    size_bytes: int
    digest: str = ""
    """Of the manifest: equal for names that are copies of each other."""
    is_one_by_one: bool = False
    """Ollama runs one request of it at a time, as it does of all that cannot complete a text (embeddings)."""
    trained_context: int = 0
    """Tokens it was trained for, as its file says; 0: not told (before Ollama 0.33)."""


@dataclass(frozen=True, slots=True)
class Lists:
    """What one instance said last."""

    installed: Mapping[str, ModelEntry] = field(default_factory=dict)
    """`/api/tags` by canonical key."""
    installed_text: bytes = b""
    """The same, as it came: equal where a store is shared."""
    loaded: Mapping[str, ModelEntry] = field(default_factory=dict)
    """`/api/ps` by canonical key."""
    loaded_text: bytes = b""
    version: str = ""

    def unloaded(self) -> Lists:
        """Return the same with nothing loaded."""
        return replace(self, loaded={}, loaded_text=b"")

    def only(self, may_see: Callable[[str], bool]) -> Lists:
        """Return the same with some models, by their canonical keys, only."""
        installed = {model: entry for model, entry in self.installed.items() if may_see(model)}
        return replace(self, installed=installed, loaded={m: entry for m, entry in self.loaded.items() if may_see(m)})


class ByModel(dict[str, T]):
    """What a list says of each model, by canonical key. Not changed any more: instances share it."""


class Installed(ByModel[InstalledModel]):
    """The same of `/api/tags`, with what is made of it, which takes milliseconds where there are thousands."""

    @cached_property
    def sizes(self) -> Mapping[str, int]:
        """Bytes on disk."""
        return {model: there.size_bytes for model, there in self.items()}

    @cached_property
    def digests(self) -> Mapping[str, str]:
        """Of the manifests."""
        return {model: there.digest for model, there in self.items()}

    @cached_property
    def one_by_one(self) -> frozenset[str]:
        """Models of which one request runs at a time."""
        return frozenset([model for model, there in self.items() if there.is_one_by_one])

    @cached_property
    def trained(self) -> Mapping[str, int]:
        """The contexts that models are trained for, of those that say so."""
        return {model: there.trained_context for model, there in self.items() if there.trained_context}

    @classmethod
    def of(cls, models: Mapping[str, InstalledModel]) -> Installed:
        """Return the models themselves, if they are such."""
        return models if isinstance(models, cls) else cls(models)


# Without `slots=True, weakref_slot=True`: Python 3.12.3 (Ubuntu 24.04) then gives a generic class no weak references.
@dataclass(frozen=True)
class _Read(Generic[T]):
    """A list that was read."""

    text: bytes
    entries: Mapping[str, ModelEntry]
    found: ByModel[T]
    pieces: Mapping[bytes, ModelEntry]
    """Entries by their text, if the list is written as Ollama writes it."""


NOT_READ: _Read[Any] = _Read(b"", {}, ByModel(), {})


class ModelList(Generic[T]):
    """A list of models of which only what has changed is read again, and once for all instances that say the same:
    reading a long one keeps requests waiting.
    """

    def __init__(self, path: str, of: Callable[[ModelEntry], T], kind: type[ByModel[T]] = ByModel) -> None:
        self._path = path
        self._of = of
        self._kind = kind
        self._last: _Read[T] = NOT_READ

    @property
    def text(self) -> bytes:
        """As it came."""
        return self._last.text

    @property
    def entries(self) -> Mapping[str, ModelEntry]:
        """By canonical key."""
        return self._last.entries

    def read(self, text: bytes) -> ByModel[T]:
        """Return the list's models by canonical key. Raises UnexpectedAnswer."""
        if text != self._last.text or self._last is NOT_READ:
            self._last = _shared.get((self._path, text)) or self._read(text)
        return self._last.found

    def presume(self, other: ModelList[T]) -> None:
        """Take it to be what another server's list is, until it is read."""
        self._last = other._last

    def _read(self, text: bytes) -> _Read[T]:
        before = self._last
        pieces = _pieces(text, before.pieces)
        entries = _entries(pieces.values() if pieces else parsed(self._path, text).get("models"))
        same = {key for key, entry in entries.items() if before.entries.get(key) is entry}
        found = {key: before.found[key] if key in same else self._of(entry) for key, entry in entries.items()}
        read = _Read(text, entries, self._kind(found), pieces)
        _shared[self._path, text] = read
        return read


_shared: WeakValueDictionary[tuple[str, bytes], _Read[Any]] = WeakValueDictionary()
"""What is in use by some instance."""


def parsed(path: str, text: bytes) -> ModelEntry:
    """Return the JSON object that a path answered. Raises UnexpectedAnswer."""
    try:
        answer = _json(text)
    except (ValueError, RecursionError) as error:
        raise UnexpectedAnswer(f"GET {path} answered no JSON: {error}") from error
    if not isinstance(answer, dict):
        raise UnexpectedAnswer(f"GET {path} answered no JSON object")
    return answer


def _json(text: bytes) -> object:
    try:
        found: object = from_json(text)
    except ValueError:  # half a surrogate pair, which Go's JSON may have and which is no text
        found = json.loads(text)
    return found


_BEGIN, _BETWEEN, _END = b'{"models":[{"name":', b'},{"name":', b"}]}"
"""Of a list as Ollama writes it (encoding/json). Nothing of this can stand in a text, where quotes are escaped."""


def _pieces(text: bytes, known: Mapping[bytes, ModelEntry]) -> dict[bytes, ModelEntry]:
    """Return a list's entries by their text; only those that are not known are parsed. Nothing, if it is written in
    another way: what was cut elsewhere than between two entries is no JSON.
    """
    if not (text.startswith(_BEGIN) and text.endswith(_END)):
        return {}
    pieces = text[len(_BEGIN) : -len(_END)].split(_BETWEEN)
    try:
        return {piece: known.get(piece) or parsed("", b'{"name":' + piece + b"}") for piece in pieces}
    except UnexpectedAnswer:
        return {}


def _entries(models: object) -> dict[str, ModelEntry]:
    """Return the models of a list by canonical key. It may be null; a name we cannot read is left out."""
    found: dict[str, ModelEntry] = {}
    for entry in models if isinstance(models, Iterable) else ():
        name = entry.get("model") or entry.get("name") if isinstance(entry, dict) else None
        if not isinstance(name, str):
            continue
        try:
            found[canonical(name)] = entry
        except ValueError:
            continue
    return found


def installed_model(entry: ModelEntry) -> InstalledModel:
    """Return what an entry of `/api/tags` says. Older servers tell no capabilities."""
    able, details = entry.get("capabilities"), entry.get("details")
    completes = "completion" in able if isinstance(able, list) and able else True
    details = details if isinstance(details, dict) else {}
    family, digest = details.get("family"), entry.get("digest")
    return InstalledModel(
        size_bytes=integer(entry, "size"),
        digest=digest if isinstance(digest, str) else "",
        is_one_by_one=not completes or (isinstance(family, str) and family in ONE_BY_ONE),
        trained_context=integer(details, "context_length"),
    )


def loaded_model(entry: ModelEntry) -> LoadedModel:
    """Return what an entry of `/api/ps` says."""
    return LoadedModel(
        size_bytes=integer(entry, "size"),
        vram_bytes=integer(entry, "size_vram"),
        context_length=integer(entry, "context_length"),
        expires_at_s=seconds(entry.get("expires_at")),
    )


def seconds(value: object) -> float | None:
    """Return a time as seconds since 1970. Go prints nanoseconds, which Python cuts; None for what is no time."""
    return _seconds(value) if isinstance(value, str) else None


@lru_cache(maxsize=16384)
def _seconds(text: str) -> float | None:
    """Of a long list few times are new."""
    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError):
        return None


def integer(entry: ModelEntry, key: str) -> int:
    """Return a whole number of an entry; 0 for what is none."""
    value = entry.get(key)
    return value if isinstance(value, int) else 0
