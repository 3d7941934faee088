"""The model of a large body of which only the beginning and the end were sent along.

What is said here of a whole, valid body is what Ollama will make of it, or that the whole must be looked at. Rules:
1. What the beginning shows holds, if no other key of that name can stand behind it.
2. The first key in the end part is on the top level, if what follows closes exactly one bracket more than it opens,
   and that one as its last.
3. The front end marks the end part if a key may stand between the two parts. Then, and when 1 and 2 disagree, the whole
   decides: something may stand behind the object's end, which Ollama does not read.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from spoe_agent.requests.body import from_document, from_field, from_scan, is_packed, read_model
from spoe_agent.requests.form import model_field
from spoe_agent.requests.scan import Scan, key_pattern

HEAD_BYTES = 16 * 1024
"""How much of a body's beginning the front end sends along."""
TAIL_BYTES = 16 * 1024
MARGIN_BYTES = 84
"""Both parts and what lies between them overlap by so much, which is more than a key can take."""
BEYOND_HEAD_BYTES = HEAD_BYTES - MARGIN_BYTES
"""Where that begins which may not be in the head."""
BETWEEN_BYTES = TAIL_BYTES - MARGIN_BYTES
"""A key with so many bytes behind it may not be in the tail."""
SPACE = b" \t\r\n"
WORD = b'"model"'
ESCAPE = re.compile(rb"\\u00[46][4-6c-fC-F]")
"""A letter of that word. The front end looks for the same."""
MARK = b"?"
"""Ends the end part if a key may stand before it. No JSON object ends so."""


class NeedsWhole(Exception):
    """Only the whole body can tell."""


class TooLarge(Exception):
    """The body is larger than what is looked at, and its beginning names no model."""


@dataclass(frozen=True, slots=True)
class Glimpse:
    """What was sent along of a body."""

    head: bytes
    """Its beginning, of at most HEAD_BYTES."""
    tail: bytes
    """Its end, up to TAIL_BYTES that are not in the head; empty when the front end cannot tell."""
    size: int
    """Of all of it."""
    is_within: bool
    """All of it was received, and may be asked for."""
    content_type: str = ""
    """Of a form with parts; "" for JSON."""
    content_encoding: str = ""
    takes_name: bool = False
    """`name` stands in for an empty `model`."""


def model_of(glimpse: Glimpse, document: object = None) -> str:
    """Return the model that a body names, as written there.

    Args:
        document: of the head what could be parsed: as `body.parsed` if it is the whole body, else as `hints.beginning`.

    Raises:
        BodyError: it names none, or none that Ollama takes.
        NeedsWhole, TooLarge: see there.
    """
    if glimpse.size <= len(glimpse.head) and glimpse.is_within:
        return _of_all(glimpse, document)
    unseen = NeedsWhole if glimpse.is_within else TooLarge
    if is_packed(glimpse.content_encoding):
        raise unseen
    if glimpse.content_type:
        model = model_field(glimpse.head, glimpse.content_type)
        if model is None:
            raise unseen
        return model
    if not glimpse.head.strip(SPACE):
        raise unseen
    plain = _plainly(glimpse, document) if glimpse.is_within else ""
    if plain:
        return plain
    scan = Scan(glimpse.head).run()
    if scan.is_closed or not scan.is_object:
        return from_scan(scan, glimpse.takes_name)
    if not glimpse.is_within:
        if not scan.value or scan.is_torn:
            raise unseen
        return scan.value
    return _between(scan, glimpse.tail)


def _of_all(glimpse: Glimpse, document: object) -> str:
    if is_packed(glimpse.content_encoding):  # Few bytes may be made to unpack to many.
        raise NeedsWhole
    if document is None or not glimpse.head.strip():
        return read_model(glimpse.head, glimpse.content_type, takes_name=glimpse.takes_name)
    if glimpse.content_type:
        return from_field(model_field(glimpse.head, glimpse.content_type))
    return from_document(glimpse.head, document, glimpse.takes_name)


def _plainly(glimpse: Glimpse, document: object) -> str:
    """Return the model of an object that shows its name once, by what a parser made of the head; "" when in doubt.

    That is what nearly all bodies are like, and takes a tenth of the time of going through the head.
    """
    head, tail = glimpse.head, glimpse.tail
    if not isinstance(document, dict) or not tail or tail.endswith(MARK) or head.rstrip(SPACE).endswith(b"}"):
        return ""
    times = _times(head) + _times(tail)
    if times != 1 or "model" not in document:
        return _behind(tail) if times == 1 and _times(tail) else ""
    model = document["model"]
    # What a parser has last may go on behind the head.
    return model if isinstance(model, str) and next(reversed(document)) != "model" else ""


def _times(text: bytes) -> int:
    """Return how often a key may stand in a text, in any case; 2 where escapes may hide more."""
    return 2 if ESCAPE.search(text) else text.lower().count(WORD)


def _between(head: Scan, tail: bytes) -> str:
    """Return the model that both parts of one object agree on."""
    if not tail or tail.endswith(MARK) or head.is_cut or head.is_broken or head.is_mistyped or head.is_torn:
        raise NeedsWhole
    last = head.value if key_pattern(head.word).search(tail) is None else _behind(tail)
    if not last or head.value not in ("", last):
        raise NeedsWhole
    return last


def _behind(tail: bytes) -> str:
    """Return what the last key of the top level says, if the first one stands there; else nothing."""
    key = key_pattern("model").search(tail)
    start = 0 if key is None else key.start()
    text = tail.rstrip(SPACE)
    if start == 0 or tail[start - 1] == ord("\\") or not text.endswith(b"}"):
        return ""
    scan = Scan(b"{" + text[start:-1]).run()
    is_level = scan.depth == 1 and not (scan.is_closed or scan.in_string or scan.is_cut)
    return scan.value if is_level and not (scan.is_broken or scan.is_mistyped or scan.is_torn) else ""
