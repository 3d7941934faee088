"""Files in the page cache: how much of them is there (mincore, by util-linux's fincore), and reading them ahead."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

CHUNK_BYTES = 16 << 20

_DEADLINE_S = 60.0


class CannotTell(Exception):
    """It cannot be found out what is in the page cache; the text says why, and what to do."""


def resident(files: Sequence[Path]) -> dict[Path, int]:
    """Return how many bytes of each file are in memory. Raises CannotTell."""
    if not files:
        return {}
    program = shutil.which("fincore")
    if program is None:
        raise CannotTell("fincore is not on the path: install util-linux (2.30 or later)")
    command = [program, "--json", "--bytes", "--output", "RES,FILE", "--", *map(str, files)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=_DEADLINE_S)
        rows = json.loads(done.stdout)["fincore"]
    except subprocess.CalledProcessError as error:
        raise CannotTell(f"fincore: {error.stderr.strip()}") from error
    except (OSError, subprocess.SubprocessError, ValueError, KeyError) as error:
        raise CannotTell(f"fincore: {error}") from error
    return {Path(row["file"]): int(row["res"]) for row in rows}


def read_ahead(file: Path, may_go_on: Callable[[], bool]) -> bool:
    """Read a file from its beginning, so that it is in memory; return whether to its end. Raises OSError."""
    buffer = bytearray(CHUNK_BYTES)
    with file.open("rb", buffering=0) as reader:
        os.posix_fadvise(reader.fileno(), 0, 0, os.POSIX_FADV_SEQUENTIAL)
        while may_go_on():
            if not reader.readinto(buffer):
                return True
    return False
