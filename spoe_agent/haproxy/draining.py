"""An agent that stops, or is about to be another process: what its connections must know of that."""

from __future__ import annotations

from dataclasses import dataclass

from spoe_agent.haproxy.contract import AGENT_CHECK, GONE_S


@dataclass(slots=True)
class Draining:
    """Shared by a server's connections: whether checks are refused, and how many were."""

    checked_at_s: float
    active: bool = False
    is_frozen: bool = False
    """Nothing is read, answered or given up: another process is about to have the connections."""
    refused_checks: int = 0

    def refuses(self, now_s: float) -> bool:
        """Note a health check, and tell whether it is to fail."""
        self.checked_at_s = now_s
        self.refused_checks += self.active
        return self.active

    def is_over(self, now_s: float) -> bool:
        """With nobody connected: no HAProxy is there that might still ask."""
        return self.is_known or now_s - self.checked_at_s > GONE_S

    @property
    def is_known(self) -> bool:
        """HAProxy had its failed checks: it opens no more connections."""
        return self.refused_checks >= AGENT_CHECK.fall
