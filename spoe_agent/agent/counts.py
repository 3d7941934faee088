"""What happened since the agent started, in numbers that only grow.

On a request's path nothing is done but to add; names for people are made when somebody asks (`spoe_agent.metrics`).
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from enum import StrEnum

from spoe_agent.agent.ending import STREAMED_S, Ending, Left
from spoe_agent.agent.grant import Grant
from spoe_agent.routing import Action, Choice, Reason
from spoe_agent.routing.choice import EVICT, RELOAD, ROOM, Cost, Tier

SECONDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 180.0)
"""Upper bounds of what is counted together: from a warm first token to the load of a very large model."""

MAX_MODELS = 200
"""Models that are counted by name, in the order in which they are asked for."""

OTHERS = ""
"""Stands for all models beyond."""

LOADS = frozenset({RELOAD, ROOM, EVICT})
"""Tiers at which a request begins a load."""


class Outcome(StrEnum):
    """How a request that ran a model ended."""

    WHOLE = "whole"
    """Status 200, and both sides were content."""
    UNANSWERED = "unanswered"
    """Its client left before the first token."""
    LEFT = "left"
    """Its client left in the middle of the answer."""
    BROKEN = "broken"

    @classmethod
    def of(cls, ending: Ending) -> Outcome:
        """Return the outcome of an ending."""
        if ending.is_whole or ending.is_rescued:
            return cls.WHOLE
        if ending.left is None:
            return cls.BROKEN
        return cls.LEFT if ending.left is Left.ANSWERED else cls.UNANSWERED


class Histogram:
    """Values counted by the first bound that they do not exceed; the last count is of those above all bounds."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...] = SECONDS) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0
        """Sum of the values."""

    def add(self, value: float) -> None:
        """Count one value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value


class Counts:
    """Of one agent. Instances and models are by the names that routing has for them."""

    def __init__(self) -> None:
        self.decisions: dict[tuple[Action, Reason, str], int] = defaultdict(int)
        """By instance last; "" where none was chosen."""
        self.models: dict[tuple[str, Action], int] = defaultdict(int)
        """Decisions that chose an instance, by model: OTHERS beyond MAX_MODELS."""
        self.loads: dict[tuple[str, Tier], int] = defaultdict(int)
        """Loads begun, by instance."""
        self.evictions: dict[str, int] = defaultdict(int)
        """Models that were to go for these, by instance."""
        self.load_s: dict[Tier, Histogram] = defaultdict(Histogram)
        self.first_token_s: dict[tuple[str, bool], Histogram] = defaultdict(Histogram)
        """By instance, and whether the model was loaded there. Streamed answers only: others come all at once."""
        self.request_s: dict[str, Histogram] = defaultdict(Histogram)
        """Whole times of answers that ended well, from the connection to the instance on; by instance."""
        self.ended: dict[tuple[str, Outcome], int] = defaultdict(int)
        """Requests by instance."""
        self.error_s: dict[tuple[bool, bool], Histogram] = defaultdict(Histogram)
        """How far predictions of the first token were off: whether the model was loaded, whether the token was late."""
        self.hold_s: dict[tuple[int, str], Histogram] = defaultdict(Histogram)
        """Times in the held queue, by class and by what ended them."""
        self._names: set[str] = set()

    def decided(self, choice: Choice, model: str | None) -> None:
        """Count a decision."""
        instance = choice.instance or ""
        self.decisions[choice.action, choice.reason, instance] += 1
        # Not of refused ones: callers must not fill the memory with names of models that do not exist.
        if instance and model:
            self.models[self._named(model), choice.action] += 1

    def _named(self, model: str) -> str:
        if model in self._names:
            return model
        if len(self._names) >= MAX_MODELS:
            return OTHERS
        self._names.add(model)
        return model

    def granted(self, choice: Choice) -> None:
        """Count what a request that goes to run a model begins there."""
        tier, instance = choice.tier, choice.instance
        if tier in LOADS and tier is not None and instance is not None:
            self.loads[instance, tier] += 1
            if choice.victims:
                self.evictions[instance] += len(choice.victims)

    def left_queue(self, priority: int, outcome: str, seconds: float) -> None:
        """Count a request that is held no more."""
        self.hold_s[priority, outcome].add(seconds)

    def repeated(self, grant: Grant) -> None:
        """Count a request that failed where it was granted, and goes elsewhere."""
        self.ended[grant.instance, Outcome.BROKEN] += 1

    def finished(self, grant: Grant, ending: Ending, warm_s: float | None, load_s: float | None) -> None:
        """Count the end of a granted request.

        Args:
            warm_s: what the first token takes where the model is loaded, as was learned until then; None: not known.
            load_s: the time of the load that it shows; None: it shows none.
        """
        instance = grant.instance
        self.ended[instance, Outcome.of(ending)] += 1
        if load_s is not None and grant.tier is not None:
            self.load_s[grant.tier].add(max(0.0, load_s))
        if not ending.is_whole or grant.only_loads:
            return
        self.request_s[instance].add(ending.total_s)
        if ending.total_s - ending.first_byte_s > STREAMED_S:
            is_warm = grant.tier is Tier.LOADED
            self.first_token_s[instance, is_warm].add(ending.first_byte_s)
            if grant.cost is not None and warm_s is not None:
                late_s = ending.first_byte_s - predicted_s(grant.cost, warm_s)
                self.error_s[is_warm, late_s > 0].add(abs(late_s))


def predicted_s(cost: Cost, warm_s: float) -> float:
    """Return the predicted seconds until the first token: what comes before it, beside what it takes where the model is
    loaded. The other terms are the whole answer's time, or others'.
    """
    return max(0.0, warm_s + cost.wait_s + cost.load_s + cost.behind_s + cost.prefix_s)
