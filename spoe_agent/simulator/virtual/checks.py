"""HAProxy's health check of one instance, as our template and every baseline's configuration have it."""

from __future__ import annotations

from spoe_agent.haproxy.contract import INSTANCE_CHECK


class HealthCheck:
    """Counts answers; one is enough to be up again."""

    def __init__(self) -> None:
        self.is_up = True
        self._failures = 0

    def take(self, is_answered: bool) -> float:
        """Take the outcome of a check, and return how long after it the next one is."""
        self._failures = 0 if is_answered else self._failures + 1
        if is_answered or self._failures >= INSTANCE_CHECK.fall:
            self.is_up = is_answered
        if not self.is_up:
            return INSTANCE_CHECK.downinter_s
        return INSTANCE_CHECK.fastinter_s if self._failures else INSTANCE_CHECK.inter_s
