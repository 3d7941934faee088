"""Ends what `pointsman up` started, when that has ended without doing it (SIGKILL, a crash).

A child of `up`. Each line of standard input is `+GROUP` or `-GROUP`: a process group is to be looked after, or no more.
At the end of input, those that are left are ended: politely, then not; then a folder of `up`'s is removed, if one is
named. Usage, by group.Reaper only: `python reaper.py [FOLDER]`. Only the standard library, and little of it: it starts
fast and stays small.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from collections.abc import Iterable
from contextlib import suppress

GRACE_S = 10.0


def main() -> None:
    """Wait until input ends."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    groups: set[int] = set()
    for line in sys.stdin:
        (groups.add if line[0] == "+" else groups.discard)(int(line[1:]))
    end(groups)
    for folder in sys.argv[1:]:
        shutil.rmtree(folder, ignore_errors=True)


def end(groups: Iterable[int]) -> None:
    """End process groups, and return when they are gone."""
    left = tell(groups, signal.SIGTERM)
    until_s = time.monotonic() + GRACE_S
    while left and time.monotonic() < until_s:
        time.sleep(0.05)  # they are no children of this process: nothing tells when they end
        left = tell(left, 0)
    tell(left, signal.SIGKILL)


def tell(groups: Iterable[int], number: int) -> list[int]:
    """Send a signal to groups, and return those that are there."""
    there = []
    for group in groups:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(group, number)
            there.append(group)
    return there


if __name__ == "__main__":
    main()
