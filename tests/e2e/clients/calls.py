"""Calls of one client, made one after the other; what came of each is printed as one JSON object."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable
from contextlib import redirect_stdout
from time import monotonic, sleep
from typing import Any

HELLO = [{"role": "user", "content": "hello"}]
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "Tell the weather.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
SHAPE = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}


def plain(said: Any) -> Any:
    """Return what a client's objects hold, as JSON has it."""
    if hasattr(said, "model_dump"):
        return plain(said.model_dump(mode="json"))
    if isinstance(said, dict):
        return {str(key): plain(value) for key, value in said.items()}
    if isinstance(said, str | int | float | None):
        return said
    return [plain(one) for one in said] if isinstance(said, Iterable) else repr(said)


def steps(progress: Iterable[Any]) -> dict[str, list[str]]:
    """Return what a stream of progress says, each word once: how many lines it has is a matter of time."""
    lines = [plain(line) for line in progress]
    statuses = ["pulling" if line.get("digest") else line["status"] for line in lines]
    return {
        "statuses": list(dict.fromkeys(statuses)),
        "files": sorted({line["digest"] for line in lines if line.get("digest")}),
    }


def until(ask: Callable[[], Any], is_so: Callable[[Any], bool]) -> Any:
    """Ask until it is so, ten seconds at most, and return the last answer: lists may be a second old."""
    ends_s = monotonic() + 10
    while not is_so(said := ask()) and monotonic() < ends_s:
        sleep(0.1)
    return said


def make(calls: dict[str, Callable[[], Any]]) -> None:
    """Make calls and print what each answered, or the error that the client raised."""
    found: dict[str, Any] = {}
    for name, call in calls.items():
        try:
            with redirect_stdout(sys.stderr):  # some clients talk to whoever reads along
                found[name] = plain(call())
        except Exception as error:  # whatever a client raises is its answer
            body = getattr(error, "body", None)
            said = {"status": getattr(error, "status_code", None), "text": str(error) if body is None else plain(body)}
            found[name] = {"raised": type(error).__name__, **said}
    json.dump(found, sys.stdout)
