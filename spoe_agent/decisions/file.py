"""One file that lines are added to, put aside when it is large. It may block: nothing of it runs on the event loop.

It is opened anew for each batch. So it is where its name says also after somebody else has put it aside, and of two
agents, one of which takes the other's place, neither has it open for long.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from fcntl import LOCK_EX, flock
from glob import escape
from pathlib import Path

_NUMBER = re.compile("[1-9][0-9]{0,8}")
"""Of a file that was put aside, after its name and a dot."""


def append(path: Path, text: bytes) -> int:
    """Add whole lines, and return the size that the file has then. Raises OSError: then nothing was added."""
    number = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
    try:
        # Of two agents only one adds at a time: what one takes back must not be the other's.
        flock(number, LOCK_EX)
        before = os.fstat(number).st_size
        try:
            left = memoryview(text)
            while left:
                left = left[os.write(number, left) :]
        except OSError:
            # Half a line would spoil the next one too.
            with suppress(OSError):
                os.ftruncate(number, before)
            raise
        return before + len(text)
    finally:
        os.close(number)


def put_aside(path: Path, keep: int) -> None:
    """Rename FILE to FILE.1, that one to FILE.2 and so on; those beyond `keep` go. Raises OSError."""
    for number in range(keep, 0, -1):
        older = path if number == 1 else aside(path, number - 1)
        with suppress(FileNotFoundError):
            os.replace(older, aside(path, number))
    for number in _put_aside(path):
        if number > keep:
            aside(path, number).unlink(missing_ok=True)


def aside(path: Path, number: int) -> Path:
    """Return where the file is that was put aside so many times."""
    return path.with_name(f"{path.name}.{number}")


def chain(path: Path) -> Iterator[Path]:
    """Yield the files that there are of one log, oldest first."""
    yield from (aside(path, number) for number in _put_aside(path))
    if path.exists():
        yield path


def _put_aside(path: Path) -> list[int]:
    """Return the numbers of files that there are, largest first. Some may be missing: somebody has taken them away."""
    numbers = (one.name.removeprefix(f"{path.name}.") for one in path.parent.glob(f"{escape(path.name)}.*"))
    return sorted((int(number) for number in numbers if _NUMBER.fullmatch(number)), reverse=True)
