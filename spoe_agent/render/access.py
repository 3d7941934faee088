"""Whether the user that a unit runs as reaches a file: by modes and owners, not by access control lists."""

from __future__ import annotations

import os
import pwd
from dataclasses import dataclass
from pathlib import Path

READ, RUN = 4, 1

_OWN_TO_UNITS = (Path("/tmp"), Path("/var/tmp"))


@dataclass(frozen=True, slots=True)
class User:
    """Whom modes are held against."""

    name: str
    uid: int | None = None
    """None: not there yet, so it owns nothing."""
    gids: tuple[int, ...] = ()


def user(name: str) -> User:
    """Return a user of this host, or one that is still to be made."""
    try:
        found = pwd.getpwnam(name)
    except KeyError:
        return User(name)
    return User(name, found.pw_uid, tuple(os.getgrouplist(name, found.pw_gid)))


def hindrance(path: Path, bits: int, by: User, own_to_units: tuple[Path, ...] = _OWN_TO_UNITS) -> str:
    """Return why a unit of that user does not reach a file, or folder, with these mode bits; "": nothing is in the way.

    Args:
        path: absolute.
        bits: READ, RUN or both.
        by: the user.
        own_to_units: folders that a unit with PrivateTmp has others of.
    """
    for way in dict.fromkeys((path, path.resolve())):
        for folder in own_to_units:
            if way.is_relative_to(folder):
                return f"{way} is below {folder}, and the unit has a {folder} of its own (PrivateTmp)"
        for place, needs in (*((folder, RUN) for folder in reversed(way.parents)), (way, bits)):
            try:
                lets = _lets(place.stat(), needs, by)
            except OSError as error:
                return f"{place}: {error.strerror}"
            if not lets:
                return f"{way}: user {by.name} may not {'enter' if needs == RUN and place != way else 'use'} {place}"
    return ""


def _lets(status: os.stat_result, bits: int, by: User) -> bool:
    shift = 6 if status.st_uid == by.uid else 3 if status.st_gid in by.gids else 0
    return status.st_mode >> shift & bits == bits
