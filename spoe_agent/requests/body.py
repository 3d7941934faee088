"""The model's name from a whole request body, read as Ollama would read it."""

from __future__ import annotations

from collections.abc import Generator
from enum import StrEnum
from typing import TypeVar, cast

import zstandard
from pydantic_core import from_json

from spoe_agent.requests.form import field_reading
from spoe_agent.requests.scan import Scan
from spoe_agent.routing.names import canonical, is_cloud

ZSTD_LIMIT_BYTES = 20 * 1024 * 1024
"""Ollama's own cap for decompressed bodies (server/cloud_proxy.go)."""
PARSED_BYTES = 64 * 1024
"""Bodies up to this size are parsed at once, which says best what is wrong with one; of larger ones only the top level
is looked at."""
PIECE_BYTES = 128 * 1024

Read = TypeVar("Read")


class BodyFault(StrEnum):
    """What Ollama has words of its own for (routing.words)."""

    NOTHING = "nothing"
    """There is no body."""
    NO_OBJECT = "no object"
    MISTYPED = "mistyped"
    """`model` is no text."""
    OTHER = "other"


class BodyError(ValueError):
    """The body cannot be read; the text says why and is fit for the caller's eyes."""

    def __init__(self, text: str, fault: BodyFault = BodyFault.OTHER, found: str = "") -> None:
        super().__init__(text)
        self.fault = fault
        self.found = found
        """Go's word for what is there instead."""


def read_model(body: bytes, content_type: str = "", content_encoding: str = "", takes_name: bool = False) -> str:
    """Return the model that a whole request body names, as written there; "" when it names none.

    Args:
        content_type: of a form with parts; "" for JSON, which Ollama reads whatever its type says.
        takes_name: `name` stands in for an empty `model`, as in /api/show.

    Raises:
        BodyError: the body is empty, not JSON, or its `model` is not a string.
    """
    return at_once(model_reading(body, content_type, content_encoding, takes_name))


def at_once(reading: Generator[None, None, Read]) -> Read:
    """Return what a reading with pauses comes to, without any."""
    while True:
        try:
            next(reading)
        except StopIteration as done:
            return cast(Read, done.value)


def model_reading(
    body: bytes, content_type: str = "", content_encoding: str = "", takes_name: bool = False
) -> Generator[None, None, str]:
    """Do as `read_model`, with a pause every few milliseconds for whoever has other work too."""
    if is_packed(content_encoding):
        body = yield from _unpacking(body)
    if not body or body.isspace():
        raise BodyError("missing request body", BodyFault.NOTHING)
    if content_type:
        return from_field((yield from field_reading(body, content_type)))
    if len(body) <= PARSED_BYTES:
        return from_document(body, parsed(body), takes_name)
    scan = Scan(body)
    yield from scan.windows()
    return from_scan(scan, takes_name)


def is_packed(content_encoding: str) -> bool:
    """Tell whether a body comes packed, in the one way that Ollama unpacks. It does not ignore case."""
    return content_encoding.strip() == "zstd"


def is_form(content_type: str) -> bool:
    """Tell whether a body is a form with parts."""
    return content_type.strip().lower().startswith("multipart/form-data")


def _unpacking(body: bytes) -> Generator[None, None, bytes]:
    plain = bytearray()
    try:
        with zstandard.ZstdDecompressor().stream_reader(body, read_across_frames=True) as reader:
            while len(plain) <= ZSTD_LIMIT_BYTES and (piece := reader.read(PIECE_BYTES)):
                plain += piece
                yield
    except zstandard.ZstdError as error:
        raise BodyError(f"invalid zstd body: {error}") from error
    if len(plain) > ZSTD_LIMIT_BYTES:
        raise BodyError(f"zstd body is larger than {ZSTD_LIMIT_BYTES} bytes when unpacked")
    return bytes(plain)


def from_field(model: str | None) -> str:
    """Return the model of a whole form. Raises BodyError when there is none."""
    if model is None:
        raise BodyError("model is required")
    return model


def parsed(body: bytes) -> object:
    """Return a small body's JSON, or the ValueError that says why it is none."""
    try:
        document: object = from_json(body)
    except ValueError as error:
        return error
    return document


def from_document(body: bytes, document: object, takes_name: bool = False) -> str:
    """Return the model of a small body that was `parsed`; "" when it names none. Raises BodyError."""
    if isinstance(document, dict):
        model = document.get("model")
        if model and isinstance(model, str) and not any(_is_variant(key) for key in document):
            return model
    elif document is None:  # which Go takes for an object without members
        return ""
    # A parser keeps neither the order of like keys nor what stood before a null; and Go takes texts that it does not.
    scan = Scan(body).run()
    if (isinstance(document, ValueError) and not (scan.is_closed and scan.value)) or scan.is_broken:
        raise BodyError(f"invalid JSON: {document}")
    return from_scan(scan, takes_name)


def _is_clouds(name: str) -> bool:
    try:
        return is_cloud(canonical(name))
    except ValueError:
        return False


def _is_variant(key: str) -> bool:
    return len(key) == len("model") and key != "model" and key.lower() == "model"


def from_scan(scan: Scan, takes_name: bool = False) -> str:
    """Return the model of a whole body that was scanned; "" when it names none. Raises BodyError."""
    if not scan.is_object:
        raise BodyError("the request body is not a JSON object", BodyFault.NO_OBJECT, scan.found)
    if not scan.is_closed:
        raise BodyError("invalid JSON: the object does not end")
    if scan.is_broken:
        raise BodyError("invalid JSON: the model's name is no valid text")
    if scan.is_mistyped:
        raise BodyError(f"'{scan.word}' is not a string", BodyFault.MISTYPED, scan.found)
    if scan.is_torn and _is_clouds(scan.exact):
        # Ollama looks for its cloud's models by the exact key first (server/cloud_proxy.go), for others in any case.
        raise BodyError("the request body names two models: 'model', and the same in another case")
    if takes_name and not scan.value and scan.word != "name":
        return from_scan(Scan(scan.text, "name").run())
    return scan.value
