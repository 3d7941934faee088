"""Headers by which a request says what it wishes of its routing: how they are read, and what is wrong with them.

Both front ends take all headers whose names begin with OURS off a request: Ollama gets none from a client.
"""

from __future__ import annotations

import re
from urllib.parse import unquote

from spoe_agent.routing.hold import LEAST_URGENT
from spoe_agent.routing.wishes import NO_WISHES, Wishes

OURS = "x-pointsman"
PREFIX = f"{OURS}-"
HEADERS = (INSTANCE, PRIORITY, TIMEOUT) = tuple(PREFIX + name for name in ("instance", "priority", "timeout"))

PRIORITIES = {"interactive": 0, "batch": LEAST_URGENT}
"""Classes of the held queue, as the fleet file's `models[].priority` counts them."""

SHOWN = 60
"""Characters of a value that an error repeats."""

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_TIME = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)(ms|s|m|h)?")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


class WishError(ValueError):
    """A header cannot be read; the text names it and is fit for the caller's eyes."""


def read_wishes(instance: str = "", priority: str = "", timeout: str = "") -> Wishes:
    """Return what these headers wish; "" for one that is not there. Raises WishError."""
    if not (instance or priority or timeout):
        return NO_WISHES
    if instance and not _NAME.fullmatch(instance):
        raise _wrong(INSTANCE, instance, "a name of an instance")
    if priority and priority not in PRIORITIES:
        raise _wrong(PRIORITY, priority, " or ".join(PRIORITIES))
    return Wishes(instance, PRIORITIES.get(priority), _seconds(timeout) if timeout else None)


def unpacked(text: str) -> Wishes:
    """Return the wishes of haproxy.cfg's `txn.pm_wish`: the values, each encoded as in a URL. Raises WishError."""
    return read_wishes(*map(unquote, text.split(" ")[: len(HEADERS)])) if text else NO_WISHES


def _seconds(text: str) -> float:
    found = _TIME.fullmatch(text)
    if found is None:
        raise _wrong(TIMEOUT, text, "seconds, or a time such as 500ms, 30s or 2m")
    return float(found[1]) * _UNITS[found[2] or "s"]


def _wrong(header: str, value: str, expected: str) -> WishError:
    return WishError(f"header {header}: {value[:SHOWN]!r} is not {expected}")
