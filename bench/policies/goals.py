"""What the agent must reach, regime by regime, and whether it does.

A goal counts as met when the unfavourable 95 % limit of the figure is on its right side; the worst minute and the worst
model's p95 are point values, and so are R0's loads: a handful that ought to be equal leaves no room for a limit. Where
the baseline is swamped, ratios to it are not judged, except in RS, whose question is overload.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from bench.policies.compare import Gap, Minutes, Ratio, finite

Ratios = Mapping[str, Ratio]
"""To least_conn: ttft_mean, ttft_p95, ttft_p99, e2e_mean, loads_per_1000."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What the goals of one cell are held against."""

    regime: str
    load: float | None
    ratios: Ratios
    minutes: Minutes | None = None
    of_ideal: Ratio | None = None
    """Mean time to the first token, divided by all_warm's."""
    gap_closed: Gap | None = None
    of_hash: Ratio | None = None
    """Mean time to the first token, divided by bounded_hash's."""
    of_simple: Mapping[str, tuple[str, Ratio]] = field(default_factory=dict)
    """By figure: the simple rule that is best in it, and ours divided by that."""
    worst_model: float | None = None
    """The largest ratio of a model's p95 to least_conn's."""
    failed: float = 0
    failed_baseline: float = 0
    misfits: float = 0
    """Requests sent to an instance that cannot hold the model."""
    baseline_swamped: bool = False
    sent_to_known: float | None = None
    """Requests sent to an instance that was gone, after two had failed there. None: nothing goes, or nothing fails
    before the instance is replaced (it hangs), so nobody could know."""


@dataclass(frozen=True, slots=True)
class Goal:
    """One goal and how far the run is from it."""

    name: str
    value: float
    """What counts: the unfavourable limit, where there is one."""
    limit: float
    at_least: bool = False
    is_judged: bool = True
    """False: the baseline is swamped, so a ratio to it says little."""

    @property
    def met(self) -> bool | None:
        """Tell whether the value is on the right side of the limit; None when that is not judged."""
        if not self.is_judged:
            return None
        return self.value >= self.limit if self.at_least else self.value <= self.limit

    @property
    def missed_by(self) -> float:
        """Return by which factor the limit is missed; 0 when it is met or not judged."""
        if self.met is not False:
            return 0.0
        if self.at_least:
            return self.limit / self.value if self.value > 0 else math.inf
        return self.value / max(self.limit, 1e-9)

    def as_dict(self) -> dict[str, object]:
        """Return the goal as plain data."""
        return {"name": self.name, "value": finite(self.value), "limit": self.limit, "met": self.met}


_RATIOS: Mapping[str, Mapping[str, float]] = {
    "R0": {"ttft_mean": 1.02, "ttft_p95": 1.02, "ttft_p99": 1.05, "e2e_mean": 1.02, "loads_per_1000": 1.0},
    "R1": {"ttft_mean": 0.20, "ttft_p95": 0.20, "ttft_p99": 0.30, "e2e_mean": 0.55, "loads_per_1000": 0.03},
    "R1t": {"ttft_mean": 0.45, "ttft_p95": 0.35, "ttft_p99": 0.45, "e2e_mean": 0.80, "loads_per_1000": 0.06},
    "R2": {"ttft_mean": 0.40, "ttft_p95": 0.50, "ttft_p99": 0.55, "e2e_mean": 0.75, "loads_per_1000": 0.45},
    "RX": {"ttft_mean": 0.15, "ttft_p95": 0.12, "ttft_p99": 0.18, "e2e_mean": 0.65, "loads_per_1000": 0.01},
    "RS": {"ttft_p95": 1.0, "ttft_p99": 1.0},
}
_R1_LIGHT_LOAD, _R1_LIGHT_E2E = 0.15, 0.65
_OF_SIMPLE = {"R0": 1.02, "R1": 0.75}
_WORST_MODEL = {"R2": 1.0}
_GAP = {"R1": 0.95, "R1t": 0.92, "R2": 0.70}


def goals(facts: Facts) -> list[Goal]:
    """Return the goals of the cell's regime."""
    to_baseline = _to_baseline(facts)
    if facts.baseline_swamped and facts.regime != "RS":
        to_baseline = [replace(goal, is_judged=False) for goal in to_baseline]
    return to_baseline + _others(facts)


def _to_baseline(facts: Facts) -> list[Goal]:
    """What is divided by the baseline's."""
    limits = dict(_RATIOS[facts.regime])
    if facts.regime == "R1" and facts.load is not None and facts.load <= _R1_LIGHT_LOAD:
        limits["e2e_mean"] = _R1_LIGHT_E2E
    found = [Goal(name, _counted(name, facts), limit) for name, limit in limits.items() if name in facts.ratios]
    if facts.gap_closed is not None and facts.regime in _GAP:
        found.append(Goal("gap_closed", facts.gap_closed.lower, _GAP[facts.regime], at_least=True))
    if facts.worst_model is not None:
        found.append(Goal("worst model's p95", facts.worst_model, _WORST_MODEL.get(facts.regime, 1.2)))
    return found


def _counted(name: str, facts: Facts) -> float:
    ratio = facts.ratios[name]
    return ratio.value if (facts.regime, name) == ("R0", "loads_per_1000") else ratio.upper


def _others(facts: Facts) -> list[Goal]:
    found = [Goal("failed", facts.failed, facts.failed_baseline), Goal("misfits", facts.misfits, 0)]
    for name, (rule, ratio) in facts.of_simple.items():
        found.append(Goal(f"{name} / {rule}, the best simple rule", ratio.upper, _OF_SIMPLE.get(facts.regime, 1.0)))
    if facts.regime == "RX" and facts.minutes is not None:
        found.append(Goal("worst minute", facts.minutes.worst, 1.05))
    if facts.sent_to_known is not None:
        found.append(Goal("sent to a known-dead instance", facts.sent_to_known, 0))
    if facts.regime == "R1" and facts.of_ideal is not None:
        found.append(Goal("ttft_mean / all_warm", facts.of_ideal.upper, 1.25))
    if facts.regime == "R1" and facts.of_hash is not None:
        found.append(Goal("ttft_mean / bounded_hash", facts.of_hash.upper, 0.5))
    return found
