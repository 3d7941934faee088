"""How the counts of one HAProxy process differ from what was granted to it, and for how long."""

from __future__ import annotations

from dataclasses import dataclass, field

SETTLE_S = 2.0
"""A grant that HAProxy has not counted for so long is gone: its log line was lost, not only late."""


@dataclass(slots=True)
class Above:
    """How long a number has been above zero."""

    least: int = 0
    """The least that it was in every snapshot since then."""
    since_s: float = 0.0

    def see(self, number: int, now_s: float) -> bool:
        """Take the number as of now, and tell whether it has been above zero for a while."""
        if not self.least:
            self.since_s = now_s
        self.least = min(self.least or number, number)
        return self.least > 0 and now_s - self.since_s > SETTLE_S


@dataclass(slots=True)
class Tally:
    """How one HAProxy process's counts have differed from the grants that it asked for."""

    surplus: Above = field(default_factory=Above)
    """Grants beyond its counts."""
    shortage: Above = field(default_factory=Above)
    """Connections beyond the grants, where some were struck off."""
    beyond: int = 0
    """Connections beyond the grants when it asked last."""
    asked_at_s: float = 0.0
