"""What a request's own headers wish of its routing."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Wishes:
    """Of one request."""

    instance: str = ""
    """Only this instance will do; "" when any will."""
    priority: int | None = None
    """Class in the held queue. Less urgent than the model's own, or it changes nothing."""
    wait_s: float | None = None
    """How long it may be held; not longer than others are. None: as long as others."""


NO_WISHES = Wishes()
