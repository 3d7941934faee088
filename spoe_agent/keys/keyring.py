"""Keys by their hashes, followed while the file is edited: for who checks them in this process."""

from __future__ import annotations

import time
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path

import structlog

from spoe_agent.fleet import FleetError
from spoe_agent.keys.entry import Key, hash_of
from spoe_agent.keys.file import read

log = structlog.get_logger()


class Lack(StrEnum):
    """Why somebody may not come, in the words that they are told."""

    NONE = "a key is needed: send Authorization: Bearer KEY, or x-api-key: KEY"
    UNKNOWN = "this key is not known here"
    EXPIRED = "this key has expired"


class Keyring:
    """The keys of a file. `wall`: seconds since 1970."""

    def __init__(self, path: Path, wall: Callable[[], float] = time.time) -> None:
        self._path = path
        self._wall = wall
        self._seen: object = None
        self._keys: dict[str, Key] = {}

    def check(self, secret: str) -> Key | Lack:
        """Return whose secret this is, or why it is nobody's."""
        self._follow()
        if not secret:
            return Lack.NONE
        key = self._keys.get(hash_of(secret))
        if key is None:
            return Lack.UNKNOWN
        return Lack.EXPIRED if key.expires_s and key.expires_s <= self._wall() else key

    def _follow(self) -> None:
        """Read what was edited. While it cannot be read nobody comes: who was revoked must not."""
        seen = stamp(self._path)
        if seen == self._seen:
            return
        self._seen = seen
        try:
            self._keys = {key.hash: key for key in read(self._path)}
        except FleetError as error:
            self._keys = {}
            log.error("the keys cannot be read, so none is good", why=str(error))


def stamp(path: Path) -> object:
    """Return what is another when a file was replaced; None: there is none that one may look at."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
