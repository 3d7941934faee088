"""What Ollama makes of a body, by the rules of Go's encoding/json, written as plainly as can be.

Decoder.Decode takes the first JSON value and ignores what follows. Keys match in any case; of several the last one
counts; null changes nothing; a `model` that is no text is refused, even if a good one follows.
"""

from __future__ import annotations

import json
from typing import Any

SPACE = " \t\r\n"


class Members(list[tuple[str, Any]]):
    """An object, with each of its members in order."""


def _refuse(name: str) -> None:
    raise ValueError(name)


DECODER = json.JSONDecoder(object_pairs_hook=Members, parse_constant=_refuse)


def ollamas_model(body: bytes) -> str | None:
    """Return the model that Ollama would run; None when it refuses the body, "" when it finds none."""
    text = body.decode("utf-8", "replace").lstrip(SPACE)
    try:
        document = DECODER.raw_decode(text)[0]
    except ValueError:
        return None
    if document is None:
        return ""
    if not isinstance(document, Members):
        return None
    model = ""
    for key, value in document:
        if key.lower() == "model" and value is not None:
            if not isinstance(value, str):
                return None
            model = value
    return model
