"""Ollama's HTTP surface: what each path is for, and in which dialect its caller wants errors.

Source: server/routes.go GenerateRoutes.
"""

from __future__ import annotations

from enum import StrEnum


class Dialect(StrEnum):
    """The shape of error bodies that the caller's library understands."""

    OLLAMA = "ollama"
    OPENAI = "openai"
    ANTHROPIC = "anthropic"


class Kind(StrEnum):
    """What a request wants, as far as routing cares."""

    INFERENCE = "inference"
    """Runs a model: needs it loaded."""
    DESCRIBE = "describe"
    """Asks about one model: any instance that has it installed will do, loaded or not."""
    MANAGE = "manage"
    """Changes the model store (pull, create, copy, delete, blobs): always the same instance, or several
    instances would write one store at once (ollama.md section 8)."""
    LIST = "list"
    """No model: any live instance."""
    UNLOAD = "unload"
    """Has a model unloaded wherever it is loaded: an inference path's request without a prompt, `keep_alive` 0."""


FORM_PATH = "/v1/audio/transcriptions"
"""Its body is a form with parts. Ollama would take a model that is named in the query before the form's."""
INFERENCE_PATHS = frozenset(
    {
        "/api/generate",
        "/api/chat",
        "/api/embed",
        "/api/embeddings",
        "/v1/chat/completions",
        "/v1/completions",
        "/v1/embeddings",
        "/v1/responses",
        "/v1/messages",
        FORM_PATH,
    }
)
LIVES_PATH, READY_PATH = "/healthz", "/readyz"
"""For probes of load balancers: that the front lives; that an instance can serve. Ollama has no such paths."""
EMBEDDING_PATHS = frozenset({"/api/embed", "/api/embeddings", "/v1/embeddings"})
MANAGE_PATHS = frozenset({"/api/pull", "/api/push", "/api/create", "/api/copy", "/api/delete"})
DESCRIBE_PATH = "/api/show"
KNOWN_PATHS = frozenset({"/", "/api/version", "/api/tags", "/api/ps", "/v1/models", DESCRIBE_PATH, *INFERENCE_PATHS})
"""Of those that change nothing and name no model themselves: what one knows what it does."""
MODEL_PATH = "/v1/models/"
BLOB_PATH = "/api/blobs/"


def outside(prefix: str) -> str:
    """Return what callers of a path are told that is not below the front's prefix."""
    return f"there is nothing here: the paths of Ollama are below {prefix}/"


def classify(method: str, path: str) -> Kind:
    """Return what a request for this path (decoded, without query) is for. What Ollama does not know is `LIST`: any
    instance answers its own 404 or 405.
    """
    if path in INFERENCE_PATHS:
        return Kind.INFERENCE if method == "POST" else Kind.LIST
    if (path_model(path) and method == "GET") or (path == DESCRIBE_PATH and method == "POST"):
        return Kind.DESCRIBE
    if path in MANAGE_PATHS or path.startswith(BLOB_PATH):
        return Kind.MANAGE
    return Kind.LIST


def path_model(path: str) -> str | None:
    """Return the model that is named in the path itself (`/v1/models/NAME`), if any. Ollama knows no such path with
    more parts, not even quoted: a model of a namespace cannot be asked for so.
    """
    name = path[len(MODEL_PATH) :] if path.startswith(MODEL_PATH) else ""
    return name if name and "/" not in name else None


def dialect(path: str) -> Dialect:
    """Return the dialect in which callers of this path expect errors."""
    if path.startswith("/v1/messages"):
        return Dialect.ANTHROPIC
    return Dialect.OPENAI if path.startswith("/v1/") else Dialect.OLLAMA
