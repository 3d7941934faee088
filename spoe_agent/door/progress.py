"""The progress of one change in several model stores, as the one stream that a single Ollama would send.

Clients draw a bar for each digest, of the size that its first line has, and close it when another digest comes (the
example of the Python library does); for each other status they draw a spinner (cmd/cmd.go). So a step is told until the
last store is past it, then the next one, and a bar shows the mean of all stores. Who fails is said, and counts no more.

Pure but for the clock. Ollama's own streams are sequential: who tells of a step is past those it told of before.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Any

Line = Mapping[str, Any]

TICK_S = 0.06
"""Ollama tells of a download this often (server/download.go Wait); all stores together are told no more often."""

NDJSON = "application/x-ndjson"
"""The media type of such a stream."""

SUCCESS = {"status": "success"}
"""What Ollama says last. When all have said it is not for this stream to know: some may have failed."""


def written(line: Line) -> bytes:
    """Return a line as it goes over the wire."""
    return json.dumps(line, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace") + b"\n"


@dataclass(slots=True)
class _Step:
    """A digest or another status, as it was first told."""

    line: Line
    total: int
    """Bytes; 0 for what is no bar."""
    completed: dict[int, int] = field(default_factory=dict)
    """Bytes by store."""
    shown: int = -1
    """What was told of it last; -1: nothing yet."""


class Progress:
    """Takes what stores say, by their number; each call returns the lines to be sent. Times are monotonic seconds."""

    def __init__(self, stores: Sequence[str], clock: Callable[[], float]) -> None:
        self._names = stores
        self._clock = clock
        self._steps: list[_Step] = []
        self._numbers: dict[str, int] = {}
        self._at = 0
        self._furthest = [-1] * len(stores)
        self._live = set(range(len(stores)))
        self._failed: set[int] = set()
        self._notes: list[Line] = []
        self._told_at_s = -inf

    def told(self, store: int, line: Line) -> list[Line]:
        """Take a line of a store."""
        if line.get("status") == SUCCESS["status"]:
            return []
        digest = line.get("digest")
        key = str(digest or line.get("status"))
        if key not in self._numbers:
            self._numbers[key] = len(self._steps)
            about = {name: value for name, value in line.items() if name != "completed"}
            self._steps.append(_Step(about, _bytes(line, "total") if digest else 0))
        number = self._numbers[key]
        self._furthest[store] = max(self._furthest[store], number)
        self._steps[number].completed[store] = _bytes(line, "completed")
        found = self._lines()
        if number:  # where all fail alike, each has told of the first step before
            found, self._notes = [*self._notes, *found], []
        return found

    def ended(self, store: int) -> list[Line]:
        """A store has done all of it."""
        self._live.discard(store)
        return self._lines()

    def failed(self, store: int, error: str) -> list[Line]:
        """A store does no more of it. That is said when another has really gone on: often all fail alike."""
        self._live.discard(store)
        self._failed.add(store)
        self._notes.append({"status": f"not in {self._names[store]}: {error}; the others go on"})
        return self._lines()

    def _lines(self) -> list[Line]:
        found: list[Line] = []
        while self._at < len(self._steps):
            step = self._steps[self._at]
            is_over = all(self._is_past(store) for store in self._live)
            if step.completed.keys() - self._failed:  # what only failed ones did is of no interest any more
                found += self._news(step, is_over)
            if not is_over:
                break
            self._at += 1
        return found

    def _is_past(self, store: int) -> bool:
        """Tell whether a store has done the present step, or goes without it."""
        step = self._steps[self._at]
        is_whole = store in step.completed and step.completed[store] >= step.total
        return is_whole or self._furthest[store] > self._at

    def _news(self, step: _Step, is_over: bool) -> list[Line]:
        """Return what there is to tell of the present step."""
        if not step.total:
            was_shown, step.shown = step.shown >= 0, 0
            return [] if was_shown else [step.line]
        completed = step.total if is_over else self._mean(step)
        now_s = self._clock()
        is_due = step.shown < 0 or is_over or now_s - self._told_at_s >= TICK_S
        if completed <= step.shown or not is_due:
            return []
        step.shown, self._told_at_s = completed, now_s
        return [{**step.line, "completed": completed} if completed else step.line]

    def _mean(self, step: _Step) -> int:
        """Return the bytes that a store has of the present step, on average."""
        counted = [store for store in range(len(self._names)) if store not in self._failed]
        is_done = {store: store not in self._live or self._is_past(store) for store in counted}
        done = [step.total if is_done[store] else step.completed.get(store, 0) for store in counted]
        return min(step.total, sum(done) // max(1, len(done)))


def _bytes(line: Line, key: str) -> int:
    """Return a size; Go leaves out what is 0."""
    value = line.get(key)
    return value if isinstance(value, int) else 0
