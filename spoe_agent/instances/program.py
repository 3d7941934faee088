"""Ollama's program: where it is, which version, which versions will do."""

from __future__ import annotations

import re
import shutil
import subprocess

DEADLINE_S = 30.0

OLDEST = (0, 30)
"""The first whose `/api/ps` lists only what is ready (server/sched.go)."""


def find(path: str | None = None) -> str | None:
    """Return the `ollama` of a search path, or of this process's own; None when there is none."""
    return shutil.which("ollama", path=path)


def version(binary: str) -> str:
    """Return `0.33.0`, the program's own version. Raises OSError or SubprocessError."""
    # It asks the server of OLLAMA_HOST for its version first; nobody listens at port 1.
    environment = {"OLLAMA_HOST": "127.0.0.1:1", "HOME": "/nonexistent"}
    done = subprocess.run(
        [binary, "--version"], env=environment, capture_output=True, text=True, check=True, timeout=DEADLINE_S
    )
    found = re.search(r"version is (\S+)", done.stdout + done.stderr)
    return found[1] if found else "unknown"


def unfit(version: str) -> str:
    """Return why a version will not do; "" when it does, or cannot be told ("0.0.0" is a build from source)."""
    numbers = re.match(r"(\d+)\.(\d+)", version)
    if numbers is None or version.startswith("0.0."):
        return ""
    parts = (int(numbers[1]), int(numbers[2]))
    return "" if parts >= OLDEST else f"is too old: {OLDEST[0]}.{OLDEST[1]} is the first that works"
