"""What a request that changes a model store wants."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Verb(StrEnum):
    """Ollama's ways to change a store."""

    PULL = "pull"
    PUSH = "push"
    CREATE = "create"
    COPY = "copy"
    DELETE = "delete"
    UPLOAD = "upload"
    """A file for a `create` to come, by its digest: no model is named."""


@dataclass(frozen=True, slots=True)
class Change:
    """One change of a store. Models by canonical key; "" where none is named, or none that could be read."""

    verb: Verb
    uses: str = ""
    """The model that must be in the store: what is pushed, copied, deleted, or created from."""
    makes: str = ""
    """The model that is in the store afterwards."""
