"""Keeps models loaded on the live board: what `routing.keep` says, each once, and none that was to go soon anyway."""

from __future__ import annotations

from dataclasses import dataclass

from spoe_agent.agent.chooser import Chooser
from spoe_agent.routing.keep import Touch, touches
from spoe_agent.routing.snapshot import Pair

IDLE_S = 60.0
"""Whoever asked for a shorter keep_alive wants the model to go."""


@dataclass(slots=True)
class _End:
    """When a model would go, since when it has been so, and whether something was done about it."""

    at_s: float | None
    since_s: float
    is_touched: bool = False


class Keeper:
    """Remembers what was touched. Times are monotonic seconds, but for `wall_s`, which is seconds since 1970."""

    def __init__(self, chooser: Chooser) -> None:
        self._chooser = chooser
        self._ends: dict[Pair, _End] = {}

    def due(self, now_s: float, wall_s: float) -> list[Touch]:
        """Return what is to be touched now. To be asked often: how long models have idled is seen here."""
        snapshot = self._chooser.board.snapshot({}, now_s, self._chooser.learner.learned(now_s))
        before, self._ends = self._ends, {}
        for instance, state in snapshot.instances.items():
            for model, loaded in state.loaded.items():
                known = before.get((model, instance))
                is_same = known is not None and known.at_s == loaded.expires_at_s
                self._ends[model, instance] = known if known and is_same else _End(loaded.expires_at_s, now_s)
        return [touch for touch in touches(self._chooser.fleet, snapshot, wall_s) if self._is_new(touch, now_s)]

    def _is_new(self, touch: Touch, now_s: float) -> bool:
        end = self._ends[touch.model, touch.instance]
        if end.is_touched or now_s - end.since_s < IDLE_S:
            return False
        end.is_touched = True
        return True
