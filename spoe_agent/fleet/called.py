"""What instances and models may be called, and which character is wrong in a name that is not one."""

from __future__ import annotations

import re
import unicodedata
from typing import Annotated

from pydantic import AfterValidator, WithJsonSchema

from spoe_agent.fleet.units import refuse

_MAX_NAME = 64


def _check_characters(text: str, allowed: str, hint: str) -> None:
    """Name the first character that is not allowed, in ASCII: what it is called shows what a font may hide."""
    for place, character in enumerate(text, 1):
        if not re.fullmatch(allowed, character, re.ASCII):
            called = unicodedata.name(character, "a control character")
            message = f"has a character that is not allowed here, U+{ord(character):04X} ({called}) at place {place}"
            raise refuse("character", message, hint)


def _instance_name(name: str) -> str:
    """HAProxy's server name, and a word in logs and headers."""
    hint = "write letters (a-z, A-Z), digits, `_`, `.` and `-`, like gpu0"
    _check_characters(name, r"[A-Za-z0-9_.-]", hint)
    if not re.match(r"[A-Za-z0-9_]", name):
        raise refuse("name", "does not begin with a letter, a digit or `_`", hint)
    if len(name) > _MAX_NAME:
        raise refuse("name", f"is longer than {_MAX_NAME} characters", "write a shorter name, like gpu0")
    return _not_reserved(name)


def _model_match(match: str) -> str:
    _check_characters(match, r"[!-~]", "write a name like llama3.1:70b, or a pattern like hf.co/*")
    if not 1 <= len(match) <= 400:
        raise refuse("match", "must have 1 to 400 characters", "write a name like llama3.1:70b")
    return match


def _not_reserved(name: str) -> str:
    # FRONTEND and BACKEND are rows of HAProxy's own statistics; the others stand for "no instance" in logs and headers.
    if name.lower() in {"frontend", "backend", "none", "fallback", "pointsman"}:
        raise refuse("reserved", "is a reserved word", "write a name of your own, like gpu0")
    return name


InstanceName = Annotated[
    str,
    AfterValidator(_instance_name),
    WithJsonSchema(
        {"type": "string", "pattern": f"^[A-Za-z0-9_][A-Za-z0-9_.-]{{0,{_MAX_NAME - 1}}}$", "examples": ["gpu0"]}
    ),
]
ModelMatch = Annotated[
    str,
    AfterValidator(_model_match),
    WithJsonSchema({"type": "string", "pattern": "^[!-~]{1,400}$", "examples": ["llama3.1:70b", "hf.co/*"]}),
]
