"""The latest decisions, each with all that `choose` saw and said, and how its request ended; nothing of a prompt.

Bounded twice: by number, and by what takes the memory, which is the candidates of big fleets.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, replace

from spoe_agent.agent.ending import Line
from spoe_agent.routing import Action, Choice, RequestFacts

KEPT = 1_000
"""Decisions."""

CANDIDATES = 16_000
"""Candidates of all of them together, with HAProxy's counts: 7 MB. So of 64 instances 250 decisions are kept."""


@dataclass(slots=True)
class PastRequest:
    """One request."""

    facts: RequestFacts
    choice: Choice
    """The latest: of a request that was held, what it got at last."""
    at_s: float
    """When it came, monotonic seconds."""
    held_s: float | None = None
    """How long it was held; None: it was not, or is still."""
    predicted_s: float | None = None
    """When the first token was to come, after it was sent; None: it has not ended, or nothing was known."""
    line: Line | None = None
    """How it ended; None: it has not."""
    is_in_log: bool = False
    """The decision log has it already, without its end."""


class History:
    """Keeps them, the oldest first."""

    def __init__(self, kept: int = KEPT, candidates: int = CANDIDATES) -> None:
        self._entries: OrderedDict[str, PastRequest] = OrderedDict()
        self._kept = kept
        self._most = candidates
        self._candidates = 0

    def __len__(self) -> int:
        return len(self._entries)

    def decided(self, facts: RequestFacts, choice: Choice, now_s: float) -> list[PastRequest]:
        """Take a decision. Requests that name no model, and are let through, are not worth a place. Return those that
        have not ended and must go for it.
        """
        if facts.model is None and choice.action is not Action.REJECT:
            return []
        before = self._entries.pop(facts.request_id, None)
        if before is not None:
            self._candidates -= len(before.choice.candidates)
        self._entries[facts.request_id] = PastRequest(facts, choice, now_s)
        self._candidates += len(choice.candidates)
        gone = []
        while len(self._entries) > self._kept or self._candidates > self._most:
            _, oldest = self._entries.popitem(last=False)
            self._candidates -= len(oldest.choice.candidates)
            gone += [oldest] if oldest.line is None else []
        return gone

    def granted(self, request_id: str, choice: Choice, held_s: float) -> bool:
        """Take what a held request got at last. False: nothing of it is kept."""
        entry = self._entries.get(request_id)
        if entry is None:
            return False
        # A refusal has no candidates of its own: what was seen before still explains it.
        kept = choice if choice.candidates else replace(choice, candidates=entry.choice.candidates)
        self._candidates += len(kept.candidates) - len(entry.choice.candidates)
        entry.choice, entry.held_s = kept, held_s
        return True

    def predicted(self, request_id: str, predicted_s: float) -> None:
        """Take what was predicted for a request that ends now."""
        entry = self._entries.get(request_id)
        if entry is not None:
            entry.predicted_s = predicted_s

    def ended(self, line: Line) -> PastRequest | None:
        """Take the end of a request, and return its decision, if that is kept."""
        entry = self._entries.get(line.request_id)
        if entry is not None:
            entry.line = line
        return entry

    def under_way(self) -> list[PastRequest]:
        """Return those that were answered, with an instance or a refusal, and have not ended."""
        return [one for one in self._entries.values() if one.line is None and one.choice.action is not Action.HOLD]

    def get(self, request_id: str) -> PastRequest | None:
        """Return a request by its id."""
        return self._entries.get(request_id)

    def find(self, name: str) -> PastRequest | None:
        """Return a request by its id, or by what its client calls it (X-Request-Id): of several, the latest. It may
        have to look at all.
        """
        entry = self.get(name)
        if entry is not None:
            return entry
        named = (one for one in reversed(self._entries.values()) if one.line is not None and one.line.name == name)
        return next(named, None)

    def last(self, count: int, model: str | None = None) -> list[PastRequest]:
        """Return the latest, newest first; of one model (canonical key) only, if that is given."""
        found = [one for one in reversed(self._entries.values()) if model is None or one.facts.model == model]
        return found[:count]
