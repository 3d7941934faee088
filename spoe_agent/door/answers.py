"""Answers for the whole fleet, each written once for as long as the lists are the same: they may be megabytes."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping

from pydantic_core import to_json

from spoe_agent.door.catalogue import ANSWERS, FleetLists, Listing, only
from spoe_agent.routing.rights import EVERYTHING, Rights


class Answers:
    """Writes answers.

    Args:
        fleet: what the instances said last.
        look: for each source what has it read anew, if it may have changed since; waits for it, not for long.
    """

    def __init__(
        self, fleet: Callable[[], FleetLists], look: Mapping[Listing, Callable[[], Awaitable[object]]]
    ) -> None:
        self._fleet = fleet
        self._look = look
        self._written: dict[str, tuple[object, bytes]] = {}

    async def to(self, path: str, rights: Rights = EVERYTHING) -> bytes:
        """Return the answer to GET of one of ANSWERS, with the models that whoever asks may use."""
        answer = ANSWERS[path]
        if answer.source is not None:
            await self._look[answer.source]()
        fleet = self._fleet()
        if rights.models is not None:
            return _json(answer.write(only(fleet, rights)))
        of = [(name, answer.of(lists)) for name, lists in fleet.items()]
        written_of, text = self._written.get(path, (None, b""))
        if written_of != of:
            theirs = {part for _, part in of if isinstance(part, bytes) and part} if answer.is_theirs else set()
            text = theirs.pop() if len(theirs) == 1 else _json(answer.write(fleet))
            self._written[path] = of, text
        return text


def _json(said: object) -> bytes:
    try:
        return to_json(said)
    except ValueError:  # half a surrogate pair, which is JSON, but no text
        return json.dumps(said, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def media_type(path: str) -> str:
    """Return the Content-Type that Ollama gives an answer: on its own API with a charset (gin's c.JSON)."""
    return "application/json" if path.startswith("/v1/") else "application/json; charset=utf-8"
