"""What Ollama makes of a request, by the rules of Go's encoding/json and mime/multipart, written as plainly as can be.

Decoder.Decode takes the first JSON value and ignores what follows. Keys match in any case; of several the last one
counts; null changes nothing; a `model` that is no text is refused, even if a good one follows. Nothing here is shared
with what it judges.
"""

from __future__ import annotations

import json
import re
from email import message_from_bytes
from email.message import Message
from typing import Any
from urllib.parse import parse_qs, unquote

import zstandard

from tests.requests.sent import Sent

SPACE = " \t\r\n"
DEEPEST = 10_000
"""encoding/json's maxNestingDepth."""
UNPACKED_BYTES = 20 << 20
SCALAR = re.compile(
    r'"(?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"'
    r"|-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?|true|false|null"
)
NAME_TOO = ("/api/show", "/api/pull", "/api/push", "/api/create", "/api/delete")
FORM, COPY, MODEL_PATH = "/v1/audio/transcriptions", "/api/copy", "/v1/models/"
FOLDED = {"\u017f": "s", "\u212a": "k"}


def taken(sent: Sent) -> str | None:
    """Return the model that Ollama would take; None when it refuses the request, "" when it finds none."""
    if sent.path.startswith(MODEL_PATH):
        return unquote(sent.path.removeprefix(MODEL_PATH)) if sent.path.count("/") == 3 else None
    body = plain(sent)
    if body is None:
        return None
    if sent.path == FORM:
        return _of_form(sent, body)
    if sent.path == COPY:
        return member(body, "source")
    model = member(body, "model")
    if sent.path in NAME_TOO:
        name = member(body, "name")
        return None if model is None or name is None else model or name
    exact = _exact(body) if sent.path.startswith("/v1/") else ""
    return exact if exact.endswith(("-cloud", ":cloud")) else model


def plain(sent: Sent) -> bytes | None:
    """Return the body as Ollama reads it; None when it cannot be unpacked."""
    if sent.first("Content-Encoding") != "zstd" or not sent.path.startswith("/v1/") or sent.path == FORM:
        return sent.body
    unpacked = b""
    try:
        with zstandard.ZstdDecompressor().stream_reader(sent.body, read_across_frames=True) as reader:
            unpacked = reader.read(UNPACKED_BYTES + 1)
    except zstandard.ZstdError:
        return None
    return unpacked if len(unpacked) <= UNPACKED_BYTES else None


def ollamas_model(body: bytes) -> str | None:
    """Return the model of a JSON body; as `taken`."""
    return member(body, "model")


def member(body: bytes, word: str) -> str | None:
    """Return what a body's object says of this word; "" when it says nothing, None when Go refuses the body."""
    text = body.decode("utf-8", "replace")
    members = _members(text)
    if members is None:
        return None
    found = ""
    for key, value in members:
        is_word = key.lower() == word or "".join(FOLDED.get(letter, letter) for letter in key).lower() == word
        if is_word and value is not None:
            if not isinstance(value, str):
                return None
            found = value
    return found


def _exact(body: bytes) -> str:
    """Return the model that Ollama's look for cloud models sees: in a whole document, the last key just so."""
    document = body.decode("utf-8", "replace").strip(SPACE)
    members = _members(document)
    if members is None or _end(document) != len(document):
        return ""
    model = dict(members).get("model")
    return model.strip() if isinstance(model, str) else ""


def _members(text: str) -> list[tuple[str, Any]] | None:
    """Return the members of the object that a text begins with; values that are containers are `...`."""
    start = len(text) - len(text.lstrip(SPACE))
    if _end(text) is None:
        return None
    if text.startswith("null", start):
        return []
    if not text.startswith("{", start):
        return None
    found: list[tuple[str, Any]] = []
    at = _past(text, start + 1)
    while text[at] != "}":
        key = SCALAR.match(text, at)
        assert key is not None
        at = _past(text, _past(text, key.end()) + 1)
        end = _end(text, at)
        assert end is not None
        found.append((json.loads(key[0]), ... if text[at] in "[{" else json.loads(text[at:end])))
        at = _past(text, end)
        at = _past(text, at + 1) if text[at] == "," else at
    return found


def _end(text: str, at: int = 0) -> int | None:
    """Return where the first value from here ends; None when there is none, or it is nested too deeply."""
    open_ones: list[str] = []
    while True:
        at = _past(text, at)
        if text[at : at + 1] in ("{", "["):
            open_ones.append(text[at])
            if len(open_ones) > DEEPEST:
                return None
            at = _past(text, at + 1)
            if text[at : at + 1] != _closing(open_ones):
                at = _to_value(text, at, open_ones)
                if at < 0:
                    return None
                continue
        else:
            scalar = SCALAR.match(text, at)
            if scalar is None:
                return None
            at = scalar.end()
        while open_ones:
            at = _past(text, at)
            if text[at : at + 1] != _closing(open_ones):
                break
            open_ones.pop()
            at += 1
        if not open_ones:
            return at
        at = _to_value(text, at + 1, open_ones) if text[at : at + 1] == "," else -1
        if at < 0:
            return None


def _closing(open_ones: list[str]) -> str:
    return "}" if open_ones[-1] == "{" else "]"


def _to_value(text: str, at: int, open_ones: list[str]) -> int:
    """Return where the next value begins: in an object behind its key. -1: there is no key."""
    at = _past(text, at)
    if open_ones[-1] == "[":
        return at
    key = SCALAR.match(text, at)
    if key is None or not key[0].startswith('"'):
        return -1
    at = _past(text, key.end())
    return at + 1 if text[at : at + 1] == ":" else -1


def _past(text: str, at: int) -> int:
    while at < len(text) and text[at] in SPACE:
        at += 1
    return at


def _of_form(sent: Sent, body: bytes) -> str | None:
    """A value of the query counts before the form's; of these the first that is no file."""
    form: Message = message_from_bytes(f"Content-Type: {sent.first('Content-Type')}\r\n\r\n".encode() + body)
    if form.get_content_type() != "multipart/form-data" or not form.is_multipart() or form.defects:
        return None
    parts = [part for part in form.get_payload() if isinstance(part, Message) and not part.get_filename()]
    values = [part for part in parts if part.get_param("name", header="content-disposition") == "model"]
    in_query = parse_qs(sent.query, keep_blank_values=True).get("model", [])
    found = [*in_query, *(bytes(part.get_payload(decode=True) or b"").decode("utf-8", "replace") for part in values)]
    return found[0] if found else ""
