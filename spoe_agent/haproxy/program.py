"""HAProxy's program: where it is, which version, what it says of a configuration."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

DEADLINE_S = 30.0

ENVIRONMENT: Mapping[str, str] = MappingProxyType(
    {
        "MALLOC_ARENA_MAX": "1",
        "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
        "MALLOC_TRIM_THRESHOLD_": str(256 << 20),
    }
)
"""What HAProxy is started with: glibc then keeps some buffers for large bodies, in one place for all threads. Without,
it asks the kernel for each anew, which takes longer than all else that is done for a body. jemalloc, which Debian's
HAProxy 3 has, does not look at it; there `tune.memory.hot-size` does the same."""


def find() -> str | None:
    """Return the HAProxy to use: $HAPROXY, else the one on the path or in sbin; None when there is none."""
    places = f"{os.environ.get('PATH', '')}:/usr/sbin"
    return shutil.which(os.environ.get("HAPROXY") or "haproxy", path=places)


def version(binary: str) -> str:
    """Return `2.6.12` of `HAProxy version 2.6.12-1+deb12u3 ...`. Raises OSError or SubprocessError."""
    said = subprocess.run([binary, "-v"], capture_output=True, text=True, check=True, timeout=DEADLINE_S).stdout
    found = re.search(r"version (\d+\.\d+[.\d]*)", said)
    return found[1] if found else "unknown"


def unfit(version: str) -> str:
    """Return why a version will not do; "" when it does."""
    numbers = [int(part) for part in version.split(".") if part.isdigit()]
    if numbers[:2] < [2, 6]:
        return "is too old: 2.6 is the first that works"
    if numbers[:2] == [3, 2] and numbers[2:] < [14]:
        return "leaves requests in its queues for ever (3.2 before 3.2.14)"
    return ""


def refusal(binary: str, *configs: Path, deadline_s: float = DEADLINE_S) -> str:
    """Return what HAProxy says against files that it is to read together; "" when it takes them. Raises OSError or
    SubprocessError.
    """
    command = [binary, "-c", *(part for config in configs for part in ("-f", str(config)))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=deadline_s)
    alerts = [line for line in done.stderr.splitlines() if "[ALERT]" in line]
    return "" if done.returncode == 0 else "; ".join(alerts) or f"status {done.returncode}"
