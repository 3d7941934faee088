"""How many files a process may have open (ulimit -n); each connection is one."""

from __future__ import annotations

from contextlib import suppress

import psutil


def open_files(process: psutil.Process, *, most: bool = False) -> int | None:
    """Return the limit that holds; `most`: what the process may raise it to. None: not known, or another user's."""
    with suppress(OSError, psutil.Error):
        soft, hard = process.rlimit(psutil.RLIMIT_NOFILE)
        return int(hard if most else soft)
    return None
