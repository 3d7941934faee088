"""What became of one change in several model stores, and the one answer that its client gets.

Pure. What all stores say alike is passed on word for word.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from spoe_agent.routing.surface import BLOB_PATH

OWN = 500
"""Ollama's status for what goes wrong within."""


@dataclass(frozen=True, slots=True)
class ChangeAnswer:
    """A whole answer, as Ollama would give it."""

    status: int
    body: bytes = b""
    media_type: str = ""
    error: str = ""
    """What went wrong; "" when nothing did."""


@dataclass(frozen=True, slots=True)
class StoreAnswer:
    """How it ended in one store."""

    where: str
    """Who did it, or which instances have the store."""
    answer: ChangeAnswer


def failure(status: int, error: str) -> ChangeAnswer:
    """Return an error in Ollama's shape."""
    body = json.dumps({"error": error}, ensure_ascii=False, separators=(",", ":"))
    return ChangeAnswer(status, body.encode("utf-8", "replace"), "application/json; charset=utf-8", error)


def merged(path: str, answers: Sequence[StoreAnswer]) -> ChangeAnswer:
    """Return the answer to a change.

    A copy or a deletion has nothing to do where the model is not. Of an upload the worst counts, but a store that fails
    by itself does not stop it: what is created from it fails there, and that is said then.
    """
    found = list(answers)
    if path.startswith(BLOB_PATH):
        found = [one for one in found if one.answer.status < OWN] or found
        return max((one.answer for one in found), key=lambda answer: answer.status)
    if path in ("/api/copy", "/api/delete"):
        found = [one for one in found if one.answer.status != 404] or found
    failed = [one for one in found if one.answer.error]
    if not failed:
        return found[0].answer
    if len(failed) == len(found) and len({(one.answer.status, one.answer.error) for one in found}) == 1:
        return found[0].answer
    statuses = {one.answer.status for one in failed}
    return failure(statuses.pop() if len(statuses) == 1 else OWN, _told(found))


def _told(answers: Sequence[StoreAnswer]) -> str:
    """Return where it is done and where not, for people."""
    wrong = "; ".join(f"{one.where}: {one.answer.error}" for one in answers if one.answer.error)
    done = ", ".join(one.where for one in answers if not one.answer.error)
    return f"not in every model store: {wrong}; done in that of {done}" if done else f"in no model store: {wrong}"
