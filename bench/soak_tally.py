"""What `bench.soak` counts, and what it holds to be wrong."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Tally:
    """What happened, and what is wrong at the end."""

    requests: int = 0
    routed: int = 0
    held: int = 0
    rejected: int = 0
    turned_away: int = 0
    left: int = 0
    lost_lines: int = 0
    sent_on: int = 0
    late_answers: int = 0
    deaths: int = 0
    most_held: int = 0
    most_drift: int = 0
    """Largest difference on one instance while requests came and went."""
    virtual_s: float = 0.0
    wall_s: float = 0.0
    drift: dict[str, int] = field(default_factory=dict)
    """The agent's grants less HAProxy's connections, by instance, where they differ at the end."""
    left_in_hold: int = 0
    unanswered: int = 0
    """Held requests that never got an answer."""
    grants_left: int = 0
    """Grants when every request is over."""

    @property
    def is_clean(self) -> bool:
        """Nothing is wrong."""
        return not (self.drift or self.left_in_hold or self.unanswered or self.grants_left)
