"""The model's name from a request body, read as Ollama would read it.

For bodies that the front end could not read itself: escapes, deep nesting, zstd, forms; and for the mitmproxy
addon, which has every body whole. Must not live here: HAProxy, routing, anything about other fields' contents.
"""

from __future__ import annotations

import json
from email import message_from_bytes
from typing import Any

import zstandard
from pydantic_core import from_json

ZSTD_LIMIT_BYTES = 20 * 1024 * 1024
"""Ollama's own cap for decompressed bodies (server/cloud_proxy.go)."""


class BodyError(ValueError):
    """The body names no model; the text says why and is fit for the caller's eyes."""


def read_model(body: bytes, content_type: str = "", content_encoding: str = "") -> str:
    """Return the model that a whole request body names, as written there.

    Raises:
        BodyError: the body is empty, not JSON, or has no `model` that is a string.
    """
    if content_encoding.strip().lower() == "zstd":
        body = _unzstd(body)
    if not body.strip():
        raise BodyError("missing request body")
    if content_type.strip().lower().startswith("multipart/form-data"):
        return _from_form(body, content_type)
    return _from_json(body)


def _unzstd(body: bytes) -> bytes:
    try:
        with zstandard.ZstdDecompressor().stream_reader(body, read_across_frames=True) as reader:
            plain = reader.read(ZSTD_LIMIT_BYTES + 1)
    except zstandard.ZstdError as error:
        raise BodyError(f"invalid zstd body: {error}") from error
    if len(plain) > ZSTD_LIMIT_BYTES:
        raise BodyError(f"zstd body is larger than {ZSTD_LIMIT_BYTES} bytes when unpacked")
    return plain


def _from_json(body: bytes) -> str:
    document = _parse(body)
    if not isinstance(document, dict):
        raise BodyError("the request body is not a JSON object")
    # Go's encoding/json: keys match in any case, and the last one wins. `name` stands in for an empty `model`
    # in /api/show and its like (server/routes.go, cmp.Or).
    model = _last(document, "model")
    if not model:
        model = _last(document, "name") or model
    if model is None:
        raise BodyError("model is required")
    if not isinstance(model, str):
        raise BodyError("'model' is not a string")
    return model


def _parse(body: bytes) -> Any:
    """Parse the first JSON value; what follows it is ignored, as Go's Decoder.Decode does."""
    try:
        return from_json(body)
    except ValueError as error:
        first = error
    try:
        # Go reads bytes that are not UTF-8 as U+FFFD; from_json refuses them.
        return json.JSONDecoder().raw_decode(body.decode("utf-8", "replace").lstrip())[0]
    except (ValueError, RecursionError):
        raise BodyError(f"invalid JSON: {first}") from first


def _last(document: dict[str, Any], name: str) -> Any:
    found = [value for key, value in document.items() if key.lower() == name]
    return found[-1] if found else None


def _from_form(body: bytes, content_type: str) -> str:
    """Multipart form of /v1/audio/transcriptions: the field `model`."""
    head = b"Content-Type: " + content_type.encode("utf-8", "surrogateescape") + b"\r\n\r\n"
    form = message_from_bytes(head + body)
    parts: Any = form.get_payload() if form.is_multipart() else ()
    for part in parts:
        if part.get_param("name", header="content-disposition") == "model":
            # None when the part has parts itself. A charset that the part claims is not looked at, as in Go.
            content: bytes = part.get_payload(decode=True) or b""
            return content.decode("utf-8", "replace").strip()
    raise BodyError("the form has no field 'model'")
