"""Model names as Ollama reads them (internal/modelref/modelref.go, types/model/name.go).

Lives here: one canonical key per model, so that `llama3`, `LLAMA3:latest` and `registry.ollama.ai/library/llama3` are
one model to us as they are to Ollama.
"""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from functools import lru_cache

DEFAULT_HOST = "registry.ollama.ai"
DEFAULT_NAMESPACE = "library"
DEFAULT_TAG = "latest"

# Part rules of types/model/name.go isValidPart: first a letter, digit or underscore, then a few more.
_HOST = re.compile(r"[a-z0-9_][a-z0-9_.:-]{0,349}", re.ASCII)
_NAMESPACE = re.compile(r"[a-z0-9_][a-z0-9_-]{0,79}", re.ASCII)
_MODEL = re.compile(r"[a-z0-9_][a-z0-9_.-]{0,79}", re.ASCII)
_GLOB = frozenset("*?[")


@lru_cache(maxsize=16384)
def canonical(name: str) -> str:
    """Return `host/namespace/model:tag` in lower case: equal for names that Ollama holds equal.

    Cloud models (`gpt-oss:20b-cloud`, `gpt-oss:20b:cloud`) keep the marker `:cloud` at the end, because
    they are another thing than the local model of that name: Ollama loads nothing for them.

    Raises:
        ValueError: Ollama would answer 400 "invalid model name".
    """
    text = name.strip()
    # lower() makes ASCII letters of a few others (U+212A, the Kelvin sign), which Ollama refuses.
    full = text.lower() if text.isascii() else ""
    bare, source = _split_source(full)
    has_two_sources = bare != full and _split_source(bare)[0] != bare
    host, namespace, model, tag = _split_parts(bare)
    valid = not has_two_sources and (
        _HOST.fullmatch(host) and _NAMESPACE.fullmatch(namespace) and _MODEL.fullmatch(model) and _MODEL.fullmatch(tag)
    )
    if not valid:
        raise ValueError(f"invalid model name {name[:80]!r}")
    return f"{host}/{namespace}/{model}:{tag}{source}"


def _split_source(name: str) -> tuple[str, str]:
    """Cut the source suffix of modelref.ParseRef off: `:local` means nothing here, `:cloud` does."""
    head, colon, suffix = name.rpartition(":")
    if colon and "/" not in suffix:
        if suffix == "local":
            return head, ""
        if suffix == "cloud":
            return head, ":cloud"
        if suffix.endswith("-cloud"):
            return name.removesuffix("-cloud"), ":cloud"
    return name, ""


def _split_parts(bare: str) -> tuple[str, str, str, str]:
    """ParseNameBare: a tag only after the last slash; then model, namespace and host from the right."""
    slash = bare.rfind("/")
    colon = bare.rfind(":")
    tag = DEFAULT_TAG
    if colon > slash:
        bare, tag = bare[:colon], bare[colon + 1 :]
    host, namespace = DEFAULT_HOST, DEFAULT_NAMESPACE
    path = bare.rsplit("/", 2)
    if len(path) == 3:
        # A scheme is read only before a host: `https://llama3` is no name.
        host = path[0].partition("://")[2] or path[0]
    if len(path) >= 2:
        namespace = path[-2]
    return host, namespace, path[-1], tag


@lru_cache(maxsize=4096)
def display(key: str) -> str:
    """Return the shortest form of a canonical key, as `/api/ps` shows it: the tag always, defaults left out."""
    return key.removeprefix(f"{DEFAULT_HOST}/").removeprefix(f"{DEFAULT_NAMESPACE}/")


def shortest(name: str) -> str:
    """Return the form of `display` in the letters of whoever wrote the name, as Ollama tells it."""
    text = name.strip()
    local = ":local"
    host, namespace, model, tag = _split_parts(text[: -len(local)] if text.lower().endswith(local) else text)
    parts = [host, namespace] if host.lower() != DEFAULT_HOST else [namespace][namespace.lower() == DEFAULT_NAMESPACE :]
    return "/".join([*parts, f"{model}:{tag}"])


def is_cloud(key: str) -> bool:
    """Tell whether a canonical key names a model that Ollama forwards to its cloud and never loads."""
    return key.endswith(":cloud")


def is_pattern(match: str) -> bool:
    """Tell whether a fleet file's model name has wildcards (`*`, `?`, `[...]`)."""
    return not _GLOB.isdisjoint(match)


@lru_cache(maxsize=65536)
def matches(match: str, key: str) -> bool:
    """Tell whether a fleet file's name or pattern means the model of this canonical key.

    A plain name is compared as Ollama would (`llama3` is `llama3:latest`); a pattern is held against the
    shortest form, tag included (`llama3.1:*`, `hf.co/*`).
    """
    if is_pattern(match):
        return fnmatchcase(display(key), match.strip().lower())
    try:
        return canonical(match) == key
    except ValueError:
        return False
