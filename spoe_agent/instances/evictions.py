"""How many models an instance keeps loaded (OLLAMA_MAX_LOADED_MODELS), as its evictions show it.

A model that is gone from `/api/ps` before its time, although nobody asked for that, made room for one that is listed
soon after. Where the memory would have held them all, it went for the number: so many as are left is as many as there
may be. Pure: time is passed in.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Mapping

from spoe_agent.routing.snapshot import LoadedModel
from spoe_agent.routing.warmth import FIT_FRACTION

PROOFS = 2
"""Evictions that prove it; one may be an unloading by hand."""

AT_ONCE = 2
"""Ollama evicts one for a load, sometimes two; where more are gone its process was ended."""

SOON_S = 60.0
"""A load takes less."""

SLACK_S = 2.0
"""Clocks differ, and an idle model is listed a little less or longer than it says."""


class Evictions:
    """Of one instance. Times are monotonic seconds, but for `wall_s`, which is as `expires_at`."""

    def __init__(self) -> None:
        self._gone: dict[str, int] = {}
        self._gone_at_s = 0.0
        self._left: deque[int] = deque(maxlen=PROOFS)
        self._most = 0

    def see(
        self,
        before: Mapping[str, LoadedModel],
        now: Mapping[str, LoadedModel],
        asked: Collection[str],
        room_bytes: int | None,
        now_s: float,
        wall_s: float,
    ) -> int | None:
        """Take two readings, one after the other. Return how many models it keeps; None: nothing new.

        Args:
            before: what was loaded.
            now: what is loaded.
            asked: models that were to go.
            room_bytes: what models may have of the GPUs; None: not known.
        """
        if now.keys() == before.keys():
            return None
        is_more, self._most = len(now) > self._most, max(self._most, len(now))
        self._lose({name: before[name] for name in before.keys() - now.keys() - set(asked)}, now_s, wall_s)
        gone = {name: size for name, size in self._gone.items() if name not in now}
        if now_s - self._gone_at_s > SOON_S:
            gone = {}
        if gone and now.keys() - before.keys():
            needed = sum(gone.values()) + sum(one.vram_bytes for one in now.values())
            if room_bytes is None or needed <= FIT_FRACTION * room_bytes:
                self._left.append(len(now))
                is_more = True
            gone = {}
        self._gone = gone
        return max(self._most, *self._left) if is_more and len(self._left) == PROOFS else None

    def _lose(self, lost: Mapping[str, LoadedModel], now_s: float, wall_s: float) -> None:
        if len(lost) > AT_ONCE:
            self._gone = {}
            return
        early = {name: one.vram_bytes for name, one in lost.items() if (one.expires_at_s or 0.0) > wall_s + SLACK_S}
        if early:
            self._gone.update(early)
            self._gone_at_s = now_s
