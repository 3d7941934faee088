"""What else the beginning of a JSON body shows that a choice can use: `options.num_ctx`, and which conversation it is.

A hint may be missing: it makes a choice better, never right or wrong.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass

from pydantic_core import from_json

BEGINNING_CHARACTERS = 4096
"""How much of a message is looked at: longer ones that differ behind it count as one."""
LEAST_CONTEXT = 4
"""Ollama takes less, also what is negative, for this (server/sched.go getRunner)."""
CONTEXTS = 2**31
"""No context is so long. Go makes something of larger numbers that depends on the processor."""
INSTRUCTIONS = frozenset({"system", "developer"})
"""Roles of a first message that many conversations share; the second one tells them apart."""


@dataclass(frozen=True, slots=True)
class Hints:
    """Of one request."""

    num_ctx: int | None = None
    prefix: str = ""
    """Hash of the conversation's beginning: its first message, and the one after it when that is the system's."""


NONE = Hints()


def hints_of(path: str, document: object) -> Hints:
    """Return the hints in a body, or in what could be parsed of it. Only Ollama's own API has `options`."""
    if not isinstance(document, dict):
        return NONE
    options = document.get("options") if path.startswith("/api/") else None
    number = options.get("num_ctx") if isinstance(options, dict) else None
    return Hints(_context(number), _prefix(document.get("messages")))


def beginning(head: bytes) -> object:
    """Parse as much of a body's beginning as can be; None when that is nothing."""
    try:
        found: object = from_json(head, allow_partial="trailing-strings")
    except ValueError:
        return None
    return found


def digest(text: str) -> str:
    """Return a short name for a text that is nobody's to read."""
    return hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=8).hexdigest()


def _context(number: object) -> int | None:
    """Return what Ollama makes of `num_ctx` (api/types.go FromMap): floats are cut, texts refused by itself."""
    if not isinstance(number, int | float) or isinstance(number, bool) or not -CONTEXTS < number < CONTEXTS:
        return None
    return max(LEAST_CONTEXT, int(number)) if number else None


def _prefix(messages: object) -> str:
    first, second = _message(messages, 0), _message(messages, 1)
    if "content" not in first:
        return ""
    shared = first.get("role") in INSTRUCTIONS and "content" in second
    return digest(_text(first["content"])) + "/" + (digest(_text(second["content"])) if shared else "")


def _message(messages: object, place: int) -> Mapping[str, object]:
    found = messages[place] if isinstance(messages, list) and len(messages) > place else {}
    return found if isinstance(found, dict) else {}


def _text(content: object) -> str:
    return (content if isinstance(content, str) else json.dumps(content))[:BEGINNING_CHARACTERS]
