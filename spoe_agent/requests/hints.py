"""What else the beginning of a JSON body shows that a choice can use: what the model is to be loaded with, whether
that, or unloading it, is all that is wanted, and which conversation it is.

A hint may be missing: it makes a choice better, never right or wrong.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from pydantic_core import from_json

from spoe_agent.requests.scan import folded

BEGINNING_CHARACTERS = 4096
"""How much of a message is looked at: longer ones that differ behind it count as one."""
LEAST_CONTEXT = 4
"""Ollama takes less, also what is negative, for this (server/sched.go getRunner)."""
NUMBERS = 2**31
"""No context is so long, no other option so large. What Go makes of larger numbers depends on the processor."""
INSTRUCTIONS = frozenset({"system", "developer"})
"""Roles of a first message that many conversations share; the second one tells them apart."""


PROMPTS: Mapping[str, str] = MappingProxyType(
    {"/api/generate": "prompt", "/api/chat": "messages", "/api/embed": "input", "/api/embeddings": "prompt"}
)
"""What is asked, by path. Without it Ollama only loads the model (server/routes.go)."""
UNLOADING_PATHS = frozenset({"/api/generate", "/api/chat"})
"""Where `keep_alive` 0 without that unloads it."""
NO_TIME = frozenset({"0", "0s", "0ms", "0m", "0h"})
"""`keep_alive` 0 as clients write it as a duration."""

RUNNER_OPTIONS = ("draft_num_predict", "main_gpu", "num_batch", "num_gpu", "num_thread", "use_mmap")
"""Options, beside `num_ctx`, that a runner is started with (api/types.go Runner)."""


class Purpose(StrEnum):
    """What a request wants of its model."""

    ANSWER = "answer"
    LOAD = "load"
    UNLOAD = "unload"


@dataclass(frozen=True, slots=True)
class Hints:
    """Of one request."""

    num_ctx: int | None = None
    runner_options: str = ""
    """The other options that a runner is started with, in one order; "" when it leaves them to Ollama."""
    purpose: Purpose = Purpose.ANSWER
    prefix: str = ""
    """Hash of the conversation's beginning: its first message, and the one after it when that is the system's."""


NONE = Hints()


def hints_of(path: str, document: object, is_whole: bool = False) -> Hints:
    """Return the hints in a body, or in what could be parsed of it. Only Ollama's own API has `options`.

    `is_whole`: nothing of it is missing, so what is not there was not sent.
    """
    if not isinstance(document, dict):
        return NONE
    found = document.get("options") if path.startswith("/api/") else None
    options = found if isinstance(found, dict) else {}
    purpose = _purpose(path, document) if is_whole else Purpose.ANSWER
    return Hints(_context(options.get("num_ctx")), _runner_options(options), purpose, _prefix(document.get("messages")))


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
    if not isinstance(number, int | float) or isinstance(number, bool) or not -NUMBERS < number < NUMBERS:
        return None
    return max(LEAST_CONTEXT, int(number)) if number else None


def _runner_options(options: Mapping[str, object]) -> str:
    """Return those that ask for something; a negative `num_gpu` leaves it to Ollama."""
    given = [(name, options.get(name)) for name in RUNNER_OPTIONS] if options else ()
    return " ".join(f"{name}={value}" for name, value in given if _counts(name, value))


def _counts(name: str, value: object) -> bool:
    return isinstance(value, int) and abs(value) < NUMBERS and not (name == "num_gpu" and value < 0)


def _purpose(path: str, document: Mapping[str, object]) -> Purpose:
    """Return what a whole body asks for; Go takes keys in any case, and of like ones the last."""
    asks = PROMPTS.get(path)
    if asks is None or any(value and folded(key) == asks for key, value in document.items()):
        return Purpose.ANSWER
    kept = [value for key, value in document.items() if folded(key) == "keep_alive"]
    # A parser does not keep the order of several spellings.
    return Purpose.UNLOAD if path in UNLOADING_PATHS and len(kept) == 1 and _is_no_time(kept[0]) else Purpose.LOAD


def _is_no_time(keep_alive: object) -> bool:
    if isinstance(keep_alive, str):
        return keep_alive in NO_TIME
    return isinstance(keep_alive, int | float) and not isinstance(keep_alive, bool) and keep_alive == 0


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
