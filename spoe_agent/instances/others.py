"""Who else uses an instance: what `/api/ps` tells of requests that are not ours.

Ollama sets a model's `expires_at` anew when the last request in flight ends, and stops the clock while any runs
(server/sched.go processCompleted, useLoadedRunner, loadedModels). So, of a model for which we have nothing in flight
and had nothing since the last reading:

    it is new                 somebody else had it loaded
    its `expires_at` moved    somebody else's request ended; where it moves along with the clock, the first one since
                              the load has not ended yet
    its `expires_at` is past  somebody else's request runs, and has for long

What it cannot tell: how many there are (one is assumed), a single request while it runs on a model that was used
before, and anything about models that we use at the same time. Pure: time is passed in.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from math import inf

from spoe_agent.routing.snapshot import LoadedModel

SLACK_S = 0.5
"""Between the end of a request of ours as the front end tells it, and Ollama's own account of it."""

MOVED_S = 0.05
"""Less is how exactly a time is printed."""

OVERDUE_S = 10.0
"""For clocks that differ, and for models that take their time to go."""

FIRST_S, LEAST_S, MOST_S = 10.0, 3.0, 60.0
"""How long somebody is believed to go on after the first sign, at least, and at most."""

GAPS = 1.5
"""Believed for so many times as long as there was between the last two signs."""


@dataclass(frozen=True, slots=True)
class _Sign:
    at_s: float
    until_s: float
    takes_s: float
    """How long a request of theirs seems to take."""


class Others:
    """Of one instance. Times are monotonic seconds, but for `wall_s`, which is as `expires_at`."""

    def __init__(self) -> None:
        self._seen: Mapping[str, LoadedModel] | None = None
        self._seen_at_s = -inf
        self._ours_at_s: dict[str, float] = {}
        self._all_ours_at_s = -inf
        self._signs: dict[str, _Sign] = {}
        self._since_s: dict[str, float] = {}
        """When a model was listed first."""

    def ours(self, model: str, at_s: float) -> None:
        """Take note that a request of ours for a model ended. One that is not listed may be another name of one that
        is, and "" is any.
        """
        if self._seen is None or model not in self._seen:
            self._all_ours_at_s = at_s
        else:
            self._ours_at_s[model] = at_s

    def see(self, loaded: Mapping[str, LoadedModel], in_flight: Collection[str], at_s: float, wall_s: float) -> None:
        """Take what is loaded, and the models for which we have requests in flight."""
        before, since_s, passed_s = self._seen, self._seen_at_s - SLACK_S, at_s - self._seen_at_s
        self._seen, self._seen_at_s = loaded, at_s
        self._since_s = {model: self._since_s.get(model, at_s) for model in loaded}
        is_any_ours = self._all_ours_at_s >= since_s or any(model not in loaded for model in in_flight)
        if before is not None and not is_any_ours:
            for model, now in loaded.items():
                is_ours = model in in_flight or self._ours_at_s.get(model, -inf) >= since_s
                if not is_ours and _is_used(before.get(model), now, wall_s):
                    self._sign(model, at_s, _has_run_since_its_load(before.get(model), now, passed_s))
        self._ours_at_s = {model: ended_s for model, ended_s in self._ours_at_s.items() if model in loaded}
        self._signs = {
            model: sign for model, sign in self._signs.items() if model in loaded and at_s - sign.at_s <= MOST_S
        }

    def using(self, now_s: float) -> Mapping[str, float]:
        """Return the models that others use, and how many seconds a request of theirs seems to take."""
        return {model: sign.takes_s for model, sign in self._signs.items() if sign.until_s > now_s}

    def _sign(self, model: str, at_s: float, is_first: bool) -> None:
        last = self._signs.get(model)
        gap_s = 0.0 if last is None else at_s - last.at_s
        lasts_s = FIRST_S if last is None else min(MOST_S, max(LEAST_S, GAPS * gap_s))
        # What has run for long is as likely as not to run for as long again.
        takes_s = at_s - self._since_s[model] if is_first else min(MOST_S, gap_s)
        self._signs[model] = _Sign(at_s, at_s + lasts_s, takes_s)


def _is_used(before: LoadedModel | None, now: LoadedModel, wall_s: float) -> bool:
    if before is None:
        return True
    if now.expires_at_s is None or before.expires_at_s is None:
        return False
    return now.expires_at_s - before.expires_at_s > MOVED_S or now.expires_at_s < wall_s - OVERDUE_S


def _has_run_since_its_load(before: LoadedModel | None, now: LoadedModel, passed_s: float) -> bool:
    """Tell whether Ollama shows what would be if it ended now: the time moves along with the clock."""
    if before is None or before.expires_at_s is None or now.expires_at_s is None:
        return before is None
    return abs(now.expires_at_s - before.expires_at_s - passed_s) < MOVED_S
