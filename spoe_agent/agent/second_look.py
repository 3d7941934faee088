"""Whether what nobody has may be there after all: lists are seconds old, and a model may have come since.

Lives here: how often lists are read anew for that, and who waits for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from math import inf

from spoe_agent.agent.recent import Recent

INTERVAL_S = 1.0
"""Unknown models make the agent ask the instances anew at most this often."""

INTERVAL_CHANGING_S = 0.1
"""The same while a store is being changed, and shortly after."""

CHANGED_S = 2.0
"""How long after its end a change may not be on the lists yet."""

CHANGE_LIFETIME_S = 3600.0
"""No change is taken to be going on for longer: its log line was lost."""

MAX_CHANGES = 100
"""Changes that are known to be going on."""

DEADLINE_S = 0.06
"""How long a request for an unknown model waits for lists."""

DEADLINE_CHANGING_S = 0.3
"""The same while a store is being changed: the model may well be there by now, and an Ollama that lists a new one for
the first time reads its file."""


class SecondLook:
    """Reads lists anew, when that is worth it.

    Args:
        refresh: asks the instances.
        clock: monotonic seconds.
        is_changing: tells whether what is read may be changing, beside what this hears of.
    """

    def __init__(
        self,
        refresh: Callable[[], Awaitable[None]],
        clock: Callable[[], float],
        is_changing: Callable[[], bool] = lambda: False,
    ) -> None:
        self._refresh = refresh
        self._clock = clock
        self._is_changing = is_changing
        self._asked_at_s = clock()
        self._asking: asyncio.Task[None] | None = None
        """The latest; it waits for those before it."""
        self._has_begun = False
        """The latest has, and what it reads may be of before."""
        self._changes: Recent[str, float] = Recent(MAX_CHANGES)
        self._changed_at_s = -inf

    def changing(self, request_id: str) -> None:
        """A request that changes a store was let through."""
        self._changes.put(request_id, self._clock())

    @property
    def changes(self) -> dict[str, float]:
        """When each change that is going on was let through, by its request's id."""
        return dict(self._changes)

    def go_on(self, changes: Mapping[str, float]) -> None:
        """Know the changes that an agent before this one let through, and whose end it has not seen."""
        self._changes.update(changes)

    def ended(self, request_id: str) -> None:
        """A request ended."""
        if self._changes.pop(request_id, None) is not None:
            self._changed_at_s = self._clock()
            # What was read last is of before.
            self._asked_at_s = -inf

    @property
    def is_changing(self) -> bool:
        """What is read is being changed, or was just now."""
        now_s = self._clock()
        going_on = any(now_s - since_s < CHANGE_LIFETIME_S for since_s in self._changes.values())
        return self._is_changing() or going_on or now_s - self._changed_at_s < CHANGED_S

    @property
    def is_worth_it(self) -> bool:
        """Lists are being read, or may be read again."""
        return self._asking is not None or self.is_changing or self._clock() - self._asked_at_s >= INTERVAL_S

    async def take(self) -> bool:
        """Have the lists read, or wait for those who do; tell whether they came in time.

        While a store is being changed, only a reading that begins from now on will do: whoever asks may have been told
        just now that the change is done.
        """
        if not self.is_worth_it:
            return True
        if self._asking is None or (self.is_changing and self._has_begun):
            self._has_begun = False
            self._asking = asyncio.get_running_loop().create_task(self._ask(self._asking))
        asking = self._asking
        done, _ = await asyncio.wait([asking], timeout=DEADLINE_CHANGING_S if self.is_changing else DEADLINE_S)
        if done:
            asking.result()
        return bool(done)

    async def _ask(self, before: asyncio.Task[None] | None) -> None:
        if before is not None:
            await asyncio.wait([before])
        pause_s = self._asked_at_s + INTERVAL_CHANGING_S - self._clock()
        if pause_s > 0:
            await asyncio.sleep(pause_s)
        self._has_begun, self._asked_at_s = True, self._clock()
        try:
            await self._refresh()
        finally:
            if self._asking is asyncio.current_task():
                self._asking = None
