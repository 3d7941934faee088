"""What a caller is told beside "not found": names that are close to the one that was asked for.

To look for them takes milliseconds where thousands of models are installed. So who asks for one unknown name after the
other gets Ollama's own 404, and no more, until the time of the last look is paid for many times over.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from math import inf

from spoe_agent.agent.recent import Recent
from spoe_agent.routing import Choice
from spoe_agent.routing.nearest import nearest

PAUSE = 30.0
"""Between two looks, for each second that the last one took: looks take a thirtieth of the time."""
REMEMBERED = 1_000
REMEMBERED_S = 10.0
"""So long the same name gets the same answer without a look."""


class Suggestions:
    """Looks for names, now and then. Times are monotonic seconds."""

    def __init__(self, timer: Callable[[], float] = time.perf_counter) -> None:
        """`timer`: what looks are timed by, in seconds."""
        self._found: Recent[str, tuple[float, str]] = Recent(REMEMBERED)
        self._not_before_s = -inf
        self._timer = timer

    def added(self, choice: Choice, key: str, installed: Iterable[Mapping[str, object]], now_s: float) -> Choice:
        """Return a rejection with the names told that are close to the model's canonical key.

        `installed`: the models of each instance, of which the caller may hear.
        """
        told = self._told(key, installed, now_s)
        return replace(choice, message=f"{choice.message}; did you mean {told}?") if told else choice

    def _told(self, key: str, installed: Iterable[Mapping[str, object]], now_s: float) -> str:
        since_s, told = self._found.get(key, (-inf, ""))
        if now_s - since_s < REMEMBERED_S or now_s < self._not_before_s:
            return told
        begun_s = self._timer()
        stores = {id(models): models for models in installed}.values()
        known = {name for models in stores for name in models}
        told = " or ".join(f"'{name}'" for name in nearest(key, known))
        self._not_before_s = now_s + PAUSE * (self._timer() - begun_s)
        self._found.put(key, (now_s, told))
        return told
