"""What an instance is passed over for: it comes back by itself after a while, later each time that it was too soon.

A full queue (503), a model that is not there (404) or not allowed (429) is answered at once: so such an instance has
the fewest requests in flight and would draw all of them. Pure: time is passed in.
"""

from __future__ import annotations

from dataclasses import dataclass

from spoe_agent.routing.snapshot import ANY_MODEL, Avoided

FIRST_S, LONGEST_S = 1.0, 60.0
"""How long it is passed over: twice as long each time, until it has served again."""

FORGOTTEN_S = 60.0
"""So long after it came back without another failure, the next one is the first."""


@dataclass(slots=True)
class _Term:
    begun_s: float
    pause_s: float
    why: str

    @property
    def until_s(self) -> float:
        return self.begun_s + self.pause_s


class Avoidance:
    """Of one instance, by model. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._terms: dict[str, _Term] = {}

    def add(self, model: str, why: str, granted_at_s: float, now_s: float) -> float:
        """Take a failure: pass the instance over for a model, or for ANY_MODEL; return for how long, 0 when it already
        is. One that was sent there meanwhile, for want of a better instance, makes its time begin anew.
        """
        last = self._terms.get(model)
        if last is not None and now_s < last.until_s:
            if granted_at_s >= last.begun_s:
                last.begun_s = now_s
            return 0.0
        is_first = last is None or now_s - last.until_s > FORGOTTEN_S
        pause_s = FIRST_S if is_first or last is None else min(LONGEST_S, 2 * last.pause_s)
        self._terms[model] = _Term(now_s, pause_s, why)
        return pause_s

    def served(self, model: str, granted_at_s: float) -> bool:
        """Take a request that was served; tell whether that ends anything. One that came before says nothing of now."""
        over = [key for key in (model, ANY_MODEL) if key in self._terms and granted_at_s >= self._terms[key].begun_s]
        for key in over:
            del self._terms[key]
        return bool(over)

    def lift(self, model: str) -> bool:
        """It is the model's own fault; tell whether that ends anything."""
        return self._terms.pop(model, None) is not None

    def now(self, now_s: float) -> dict[str, Avoided]:
        """Return what the instance is passed over for, or was until lately and has not served since."""
        kept = ((key, term) for key, term in self._terms.items() if now_s < term.until_s + FORGOTTEN_S)
        return {key: Avoided(term.until_s, term.why) for key, term in kept}
