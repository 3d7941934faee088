"""HAProxy's health check of one server, as our template and every baseline's configuration have it.

`check inter 2s fastinter 500ms downinter 1s fall 2 rise 1` with `GET /` (configuration.txt 5.2).
"""

from __future__ import annotations

INTER_S, FASTINTER_S, DOWNINTER_S = 2.0, 0.5, 1.0
FALL = 2


class HealthCheck:
    """Counts answers; one is enough to be up again."""

    def __init__(self) -> None:
        self.is_up = True
        self._failures = 0

    def take(self, is_answered: bool) -> float:
        """Take the outcome of a check, and return how long after it the next one is."""
        self._failures = 0 if is_answered else self._failures + 1
        if is_answered or self._failures >= FALL:
            self.is_up = is_answered
        if not self.is_up:
            return DOWNINTER_S
        return FASTINTER_S if self._failures else INTER_S
