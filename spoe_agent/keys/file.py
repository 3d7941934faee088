"""The file of keys: read as a whole, changed one at a time, replaced in one step."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from spoe_agent.fleet import FleetError, Problem
from spoe_agent.keys.entry import Key

MODE = 0o640
"""Of a new file: its group is to be the agent's."""


class _Content(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    keys: tuple[Key, ...] = ()


Keys = tuple[Key, ...]


def read(path: Path) -> Keys:
    """Return the keys of a file; none where there is no file yet. Raises FleetError when it cannot be read."""
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise _wrong(path, f"cannot be read: {error.strerror}", "check the path and its permissions") from None
    try:
        return _Content.model_validate_json(text).keys
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        hint = "pointsman key writes it; put the last good copy back"
        raise _wrong(path, f"is damaged at {where or 'its beginning'}: {first['msg']}", hint) from None


def _wrong(path: Path, message: str, hint: str) -> FleetError:
    return FleetError([Problem(str(path), None, "", message, hint)])


def change(path: Path, edit: Callable[[Keys], Keys]) -> Keys:
    """Replace the file as `changed` does, and return its keys."""
    with changed(path, edit) as keys:
        return keys


@contextmanager
def changed(path: Path, edit: Callable[[Keys], Keys]) -> Iterator[Keys]:
    """Replace the file by what `edit` makes of its keys, and give that. Who writes waits until who wrote has left.

    Raises FleetError as `read`, OSError when it cannot be written, and what `edit` raises.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with _alone(path.parent):
        keys = edit(read(path))
        _replace(path, _Content(keys=keys).model_dump_json(indent=1, exclude_defaults=True) + "\n")
        yield keys


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    lock = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _replace(path: Path, text: str) -> None:
    """Put the file in place, on the disk before it has its name. Whose it is, and who may read it, stays."""
    beside = path.with_name(f".{path.name}.new")
    beside.unlink(missing_ok=True)
    was = path.stat() if path.exists() else None
    with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as new:
        new.write(text)
        new.flush()
        if was is None:
            os.fchmod(new.fileno(), MODE)
        else:
            if (was.st_uid, was.st_gid) != (os.geteuid(), os.getegid()):
                os.fchown(new.fileno(), was.st_uid, was.st_gid)
            os.fchmod(new.fileno(), was.st_mode & 0o666)
        os.fsync(new.fileno())
    beside.replace(path)
