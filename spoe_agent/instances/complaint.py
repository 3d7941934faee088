"""Something that goes wrong again and again, said once when it begins and once when it is over.

Pure: time is passed in.
"""

from __future__ import annotations

from enum import Enum
from math import inf

PATIENCE = 2
"""Times in a row until it is worth a word: Ollama's lists wait for a moment while it loads or unloads."""

QUIET_S = 60.0
"""Without a relapse for so long, it is over. So what comes and goes is two lines a minute at most."""


class News(Enum):
    """What to say."""

    NOTHING = "nothing"
    BEGINS = "begins"
    ENDS = "ends"


class Complaint:
    """One thing that may go wrong. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._in_a_row = 0
        self._last_at_s = -inf
        self._is_said = False

    def see(self, is_wrong: bool, now_s: float) -> News:
        """Take how things are, and return what is new."""
        if is_wrong:
            self._in_a_row += 1
            self._last_at_s = now_s
            if self._in_a_row >= PATIENCE and not self._is_said:
                self._is_said = True
                return News.BEGINS
        else:
            self._in_a_row = 0
            if self._is_said and now_s - self._last_at_s >= QUIET_S:
                self._is_said = False
                return News.ENDS
        return News.NOTHING
