"""Programs of others that the rig starts: found or said to be missing, and their versions."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from os import environ

from spoe_agent.rig.process import RigError


def required(found: str | None, variable: str, missing: str) -> str:
    """Return a program that was looked for. Raises RigError: what `variable` of the environment names is none, or else
    `missing`.
    """
    if found is None:
        named = environ.get(variable)
        raise RigError(f"${variable} is {named}, which is not a program" if named else missing)
    return found


def asked(version: Callable[[str], str], binary: str) -> str:
    """Return a program's version as `version` has it from the program. Raises RigError."""
    try:
        return version(binary)
    except (OSError, subprocess.SubprocessError) as error:
        raise RigError(f"cannot run {binary}: {error}") from error
