"""What the agent must reach, regime by regime, and whether it does.

A goal counts as met when the upper 95 % limit of the ratio is below it. Must not live here: how ratios are computed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from spoe_agent.benchmark.compare import Minutes, Ratio

Ratios = Mapping[str, Ratio]
"""To least_conn: ttft_mean, ttft_p95, ttft_p99, e2e_mean, loads_per_1000."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What the goals of one cell are held against."""

    regime: str
    load: float
    ratios: Ratios
    minutes: Minutes | None = None
    of_ideal: Ratio | None = None
    """Mean time to the first token, divided by all_warm's."""
    gap_closed: float | None = None
    of_hash: Ratio | None = None
    """Mean time to the first token, divided by bounded_hash's."""
    worst_model: float | None = None
    """The largest ratio of a model's p95 to least_conn's."""
    failed: int = 0
    failed_baseline: int = 0
    sent_to_known: int = 0
    """Requests sent to an instance that hung or was gone, after two had failed there."""


@dataclass(frozen=True, slots=True)
class Goal:
    """One goal and how far the run is from it."""

    name: str
    value: float
    """What counts: of a ratio of times the upper limit."""
    limit: float
    at_least: bool = False

    @property
    def met(self) -> bool:
        """Tell whether the value is on the right side of the limit."""
        return self.value >= self.limit if self.at_least else self.value <= self.limit

    @property
    def missed_by(self) -> float:
        """Return by which factor the limit is missed; 0 when it is met."""
        if self.met:
            return 0.0
        return self.limit / self.value if self.at_least and self.value > 0 else self.value / max(self.limit, 1e-9)

    def as_dict(self) -> dict[str, object]:
        """Return the goal as plain data."""
        return {"name": self.name, "value": self.value, "limit": self.limit, "met": self.met}


_RATIOS: Mapping[str, Mapping[str, float]] = {
    "R0": {"ttft_mean": 1.02, "ttft_p95": 1.02, "ttft_p99": 1.05, "e2e_mean": 1.02, "loads_per_1000": 1.0},
    "R1": {"ttft_mean": 0.20, "ttft_p95": 0.20, "ttft_p99": 0.30, "e2e_mean": 0.55, "loads_per_1000": 0.03},
    "R1t": {"ttft_mean": 0.45, "ttft_p95": 0.35, "ttft_p99": 0.45, "e2e_mean": 0.80, "loads_per_1000": 0.06},
    "R2": {"ttft_mean": 0.40, "ttft_p95": 0.50, "ttft_p99": 0.55, "e2e_mean": 0.75, "loads_per_1000": 0.45},
    "RX": {"ttft_mean": 0.15, "ttft_p95": 0.12, "ttft_p99": 0.18, "e2e_mean": 0.65, "loads_per_1000": 0.01},
    "RS": {"ttft_p95": 1.0, "ttft_p99": 1.0},
}
_R1_LIGHT_LOAD, _R1_LIGHT_E2E = 0.15, 0.65
_GAP = {"R1": 0.95, "R1t": 0.92, "R2": 0.70}


def goals(facts: Facts) -> list[Goal]:
    """Return the goals of the cell's regime."""
    limits = dict(_RATIOS[facts.regime])
    if facts.regime == "R1" and facts.load <= _R1_LIGHT_LOAD:
        limits["e2e_mean"] = _R1_LIGHT_E2E
    found = [Goal(name, facts.ratios[name].upper, limit) for name, limit in limits.items() if name in facts.ratios]
    return found + list(_others(facts))


def _others(facts: Facts) -> Sequence[Goal]:
    found = [Goal("failed", facts.failed, facts.failed_baseline)]
    if facts.regime == "RS":
        found.append(Goal("sent to a known-dead instance", facts.sent_to_known, 0))
    if facts.gap_closed is not None and facts.regime in _GAP:
        found.append(Goal("gap_closed", facts.gap_closed, _GAP[facts.regime], at_least=True))
    if facts.regime == "R1" and facts.of_ideal is not None:
        found.append(Goal("ttft_mean / all_warm", facts.of_ideal.upper, 1.25))
    if facts.regime == "R1" and facts.of_hash is not None:
        found.append(Goal("ttft_mean / bounded_hash", facts.of_hash.upper, 0.5))
    if facts.regime == "R2" and facts.worst_model is not None:
        found.append(Goal("worst model's p95", facts.worst_model, 1.0))
    if facts.regime == "RX" and facts.minutes is not None:
        found.append(Goal("worst minute", facts.minutes.worst, 1.05))
    return found
