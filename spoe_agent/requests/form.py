"""The field `model` of a multipart form (/v1/audio/transcriptions), without a copy of the file beside it.

As Go's FormValue has it, the first part of that name counts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from email import message_from_bytes
from email.message import Message

MAX_HEAD_BYTES = 16 * 1024
"""Of a part's headers; what is longer has no name."""
FIELD = "model"

_HEAD_END = re.compile(rb"\r?\n\r?\n")


@dataclass(frozen=True, slots=True)
class Part:
    """Where a part of a form lies."""

    name: str
    start: int
    """Of its content."""
    end: int
    is_whole: bool
    """The boundary behind it is within the text."""


def model_field(form: bytes, content_type: str) -> str | None:
    """Return the model that a form, or what is there of one, names; None when it names none, or not in that part."""
    for part in parts(form, content_type):
        if part.name == FIELD:
            content = form[part.start : part.end]
            return content.decode("utf-8", "replace").strip() if part.is_whole else None
    return None


def parts(form: bytes, content_type: str) -> Iterator[Part]:
    """Return the parts of a form in their order. What precedes the first boundary or follows the last is none."""
    boundary = _boundary(content_type)
    found = _next_boundary(form, boundary, 0) if boundary else None
    while found is not None and not found["last"]:
        following = _next_boundary(form, boundary, found.end() - 1)
        end = len(form) if following is None else following.start()
        head = _HEAD_END.search(form, found.end() - 1, min(end, found.end() + MAX_HEAD_BYTES))
        if head is not None:
            yield Part(_name(form[found.end() : head.start()]), head.end(), end, following is not None)
        found = following


def _boundary(content_type: str) -> bytes:
    """Return the dashes and the text that stand between parts; nothing when there is no usable text."""
    message = Message()
    message["Content-Type"] = content_type.replace("\r", " ").replace("\n", " ")
    try:
        text = (message.get_boundary() or "").encode()
    except UnicodeError:
        return b""
    return b"--" + text if text else b""


def _next_boundary(form: bytes, boundary: bytes, start: int) -> re.Match[bytes] | None:
    """Return the next line that is a boundary, with the line's end before it."""
    line = re.compile(rb"(?:\A|\r?\n)" + re.escape(boundary) + rb"(?:(?P<last>--)|[ \t]*\r?\n)")
    at = form.find(boundary, start)
    while at >= 0:
        for before in (2, 1, 0):
            if at >= before and (found := line.match(form, max(at - before, 0))) and at - before >= start - 1:
                return found
        at = form.find(boundary, at + 1)
    return None


def _name(head: bytes) -> str:
    found = message_from_bytes(head).get_param("name", header="content-disposition")
    return found if isinstance(found, str) else ""
