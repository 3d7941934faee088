"""pydantic's errors in the words of the fleet file's user.

Lives here: messages, hints, the guess what a misspelt key was meant to be.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from difflib import get_close_matches
from functools import cache
from typing import Any

from pydantic_core import ErrorDetails

from spoe_agent.fleet.document import Document
from spoe_agent.fleet.problems import Finding, Path, shown
from spoe_agent.fleet.schema import json_schema

_MESSAGES = {
    "extra_forbidden": "unknown key",
    "missing": "is missing",
    "model_type": "must be a mapping of keys",
    "tuple_type": "must be a list",
    "string_type": "must be text",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "int_type": "must be a whole number",
    "too_short": "must have at least one entry",
    "string_pattern_mismatch": "has characters that are not allowed here",
    "url_scheme": "must begin with http:// or https://",
    "url_parsing": "is not a URL",
    "url_type": "is not a URL",
}


def finding(error: ErrorDetails, document: Document) -> Finding:
    """Return what a pydantic error on the file's data means, at the place where it stands in the file."""
    kind, said, value = error["type"], error.get("ctx", {}), error["input"]
    message = message_of(error)
    path = document.known(error["loc"])
    if kind == "missing":
        path = (*path, *error["loc"][len(path) :][:1])
        return Finding(path, message, _missing_hint(path))
    if kind == "extra_forbidden":
        return Finding(path, message, _unknown_hint(path))
    if kind == "too_short":
        return Finding(path, message, _example_hint(path))
    if kind == "string_type" and isinstance(value, int | float):
        return Finding(path, message, f'write it in quotes: "{value}"')
    return Finding(path, message, str(said.get("hint") or _example_hint(path)))


def message_of(error: ErrorDetails) -> str:
    """Return what is wrong with a value, which is shown where that tells."""
    kind, value = error["type"], error["input"]
    message = str(error.get("ctx", {}).get("message") or _MESSAGES.get(kind) or _own_words(error["msg"]))
    if kind in ("missing", "extra_forbidden", "too_short"):
        return message
    return f"{shown(value)} {message}" if message.startswith(("is ", "has ")) else f"{message}, not {shown(value)}"


def _own_words(text: str) -> str:
    return text.replace("Input should be", "must be", 1).replace("Value should", "must", 1)


def _missing_hint(path: Path) -> str:
    examples = _examples(path)
    return f"write {path[-1]}: {examples[0]}" if examples else f"write {path[-1]}"


def _example_hint(path: Path) -> str:
    examples = _examples(path)
    return f"for example {' or '.join(examples[:2])}" if examples else ""


def _unknown_hint(path: Path) -> str:
    """Guess: a misspelt key, an OLLAMA_* variable, or a key of a section further in or out."""
    key, known = str(path[-1]), list(_keys(path[:-1]))
    wanted = key.lower().removeprefix("ollama_").replace("-", "_")
    if wanted in known:
        return f"did you mean {wanted}?"
    for section in known:
        if wanted in _keys((*path[:-1], section)):
            return f"it belongs under {section}"
    for depth in range(len(path) - 2, -1, -1):
        if wanted in _keys(path[:depth]):
            return f"it belongs {_place(path[:depth])}"
    close = get_close_matches(wanted, known, n=1)
    return f"did you mean {close[0]}?" if close else f"known here: {', '.join(known)}"


def _place(path: Path) -> str:
    words = [step for step in path if isinstance(step, str)]
    return f"directly under {'.'.join(words)}" if words else "at the left margin"


@cache
def _schema() -> dict[str, Any]:
    return json_schema()


def _keys(path: Path) -> list[str]:
    return next((list(node["properties"]) for node in _nodes(path) if "properties" in node), [])


def _examples(path: Path) -> list[str]:
    """Return the schema's examples for a path, as YAML."""
    found: list[object] = next((node["examples"] for node in _nodes(path) if "examples" in node), [])
    return [example if isinstance(example, str) else json.dumps(example) for example in found]


def _nodes(path: Path) -> list[dict[str, Any]]:
    """Return the JSON schema's nodes for a path: the node itself and all alternatives in it."""
    nodes = list(_alternatives(_schema()))
    for step in path:
        inner = [node.get("items") if isinstance(step, int) else node.get("properties", {}).get(step) for node in nodes]
        nodes = [alternative for node in inner if node for alternative in _alternatives(node)]
    return nodes


def _alternatives(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    if "$ref" in node:
        yield from _alternatives(_schema()["$defs"][node["$ref"].rpartition("/")[2]])
    for choice in node.get("anyOf", ()):
        yield from _alternatives(choice)
